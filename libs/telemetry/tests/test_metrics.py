"""Metrics by name, and the endpoint that shows them."""

from urllib.request import urlopen

from vermeil_telemetry import counter, gauge, histogram, start_metrics_server


def test_one_name_is_one_metric() -> None:
    counter("test_things", "Things seen.", ["kind"]).labels("a").inc()
    counter("test_things", "Things seen.", ["kind"]).labels("a").inc()
    assert counter("test_things", "Things seen.", ["kind"]).labels("a")._value.get() == 2


def test_the_endpoint_shows_what_was_counted() -> None:
    counter("test_shown", "Shown.").inc(3)
    gauge("test_level", "Level.").set(7)
    histogram("test_seconds", "Seconds.").observe(0.2)
    server = start_metrics_server(0)
    assert server is not None
    try:
        page = urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30).read().decode()
    finally:
        server.stop()
    assert "vermeil_test_shown_total 3.0" in page
    assert "vermeil_test_level 7.0" in page
    assert 'vermeil_test_seconds_bucket{le="0.25"} 1.0' in page


def test_nothing_listens_without_a_port() -> None:
    assert start_metrics_server(None) is None
