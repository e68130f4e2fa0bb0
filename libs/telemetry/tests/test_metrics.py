"""Metrics by name, and the endpoint that shows them."""

import ctypes
from typing import Any
from urllib.request import urlopen

import pytest
from vermeil_errors import Conflict
from vermeil_telemetry import counter, gauge, histogram, start_metrics_server
from vermeil_telemetry.gpus import Gpus


def scraped() -> str:
    """What Prometheus is shown by a server that is there for this one look."""
    server = start_metrics_server(0)
    assert server is not None
    try:
        return str(urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30).read().decode())
    finally:
        server.stop()


def test_one_name_is_one_metric() -> None:
    counter("test_things", "Things seen.", ["kind"]).labels("a").inc()
    counter("test_things", "Things seen.", ["kind"]).labels("a").inc()
    assert counter("test_things", "Things seen.", ["kind"]).labels("a")._value.get() == 2


def test_the_endpoint_shows_what_was_counted() -> None:
    counter("test_shown", "Shown.").inc(3)
    gauge("test_level", "Level.").set(7)
    histogram("test_seconds", "Seconds.").observe(0.2)
    page = scraped()
    assert "vermeil_test_shown_total 3.0" in page
    assert "vermeil_test_level 7.0" in page
    assert 'vermeil_test_seconds_bucket{le="0.25"} 1.0' in page


def test_nothing_listens_without_a_port() -> None:
    assert start_metrics_server(None) is None


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    server = start_metrics_server(0)
    assert server is not None
    try:
        with pytest.raises(Conflict, match=rf"metrics_port.*{server.port}.*VERMEIL_METRICS_PORT"):
            start_metrics_server(server.port)
    finally:
        server.stop()


class Library:
    """Two GPUs as NVIDIA's library tells of them; the second does not say what it draws."""

    def __getattr__(self, name: str) -> Any:
        def answer(*arguments: Any) -> int:
            values: dict[str, list[tuple[type, int]]] = {
                "nvmlInit_v2": [],
                "nvmlDeviceGetCount_v2": [(ctypes.c_uint, 2)],
                "nvmlDeviceGetHandleByIndex_v2": [(ctypes.c_void_p, 100 + int(arguments[0] or 0))]
                if name.endswith("Index_v2")
                else [],
                "nvmlDeviceGetUtilizationRates": [(ctypes.c_uint, 75), (ctypes.c_uint, 20)],
                "nvmlDeviceGetMemoryInfo": [(ctypes.c_ulonglong, size << 30) for size in (80, 50, 30)],
                "nvmlDeviceGetTemperature": [(ctypes.c_uint, 61)],
                "nvmlDeviceGetPowerUsage": [(ctypes.c_uint, 350_500)],
            }
            if name == "nvmlDeviceGetPowerUsage" and arguments[0].value == 101:
                return 3  # NVML_ERROR_NOT_SUPPORTED
            place = ctypes.addressof(arguments[-1]._obj) if arguments else 0
            for kind, value in values[name]:
                kind.from_address(place).value = value  # type: ignore[attr-defined]
                place += ctypes.sizeof(kind)
            return 0

        return answer


def test_what_gpus_do_is_told_beside_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermeil_telemetry.metrics.find_gpus", lambda: Gpus(Library()))
    for _ in range(2):  # one that has stopped leaves nothing behind
        page = scraped()
    told = {
        line.rpartition(" ")[0]: float(line.split()[-1])
        for line in page.splitlines()
        if "_gpu_" in line and line[0] != "#"
    }
    for gpu in "01":
        assert told[f'vermeil_gpu_utilization_ratio{{gpu="{gpu}"}}'] == 0.75
        assert told[f'vermeil_gpu_memory_used_bytes{{gpu="{gpu}"}}'] == 30 << 30
        assert told[f'vermeil_gpu_memory_total_bytes{{gpu="{gpu}"}}'] == 80 << 30
        assert told[f'vermeil_gpu_temperature_celsius{{gpu="{gpu}"}}'] == 61
    assert told['vermeil_gpu_power_watts{gpu="0"}'] == 350.5
    assert len(told) == 9
