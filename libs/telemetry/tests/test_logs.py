"""What ends up on the lines of a log."""

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from vermeil_telemetry import bound, configure, get_logger, traceparent


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Those of a test; a service that another test left running in this process may say something too."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if not line["logger"].startswith("vermeil_")]


def test_a_line_names_service_time_level_and_its_fields(stream: io.StringIO) -> None:
    configure("registry", stream=stream)
    get_logger("vermeil.test").info("job created", job="jobs/1")
    (line,) = _lines(stream)
    assert line["service"] == "registry"
    assert line["event"] == "job created"
    assert line["job"] == "jobs/1"
    assert line["level"] == "info"
    assert line["logger"] == "vermeil.test"
    assert line["time"].endswith("Z")


def test_bound_fields_are_on_every_line_inside_and_on_none_after(stream: io.StringIO) -> None:
    configure("trainer", stream=stream)
    logger = get_logger("a")
    with bound(job="jobs/7", request_id="r1"):
        logger.info("inside")
    logger.info("after")
    inside, after = _lines(stream)
    assert (inside["job"], inside["request_id"]) == ("jobs/7", "r1")
    assert "job" not in after


def test_the_trace_id_is_on_every_line_of_a_request(stream: io.StringIO) -> None:
    configure("x", stream=stream)
    with traceparent("00-" + "a" * 32 + "-" + "b" * 16 + "-00"):
        get_logger("a").info("hello")
    assert _lines(stream)[0]["trace_id"] == "a" * 32


def test_bound_fields_follow_into_threads_of_asyncio(stream: io.StringIO) -> None:
    configure("x", stream=stream)

    async def work() -> None:
        with bound(job="jobs/1"):
            await asyncio.to_thread(get_logger("a").info, "in a thread")

    asyncio.run(work())
    assert _lines(stream)[0]["job"] == "jobs/1"


def test_other_libraries_leave_by_the_same_door(stream: io.StringIO) -> None:
    configure("x", stream=stream)
    with bound(job="jobs/2"):
        logging.getLogger("somebody.else").warning("disk %d %% full", 93, extra={"disk": "sda"})
    (line,) = _lines(stream)
    assert line["event"] == "disk 93 % full"
    assert (line["job"], line["disk"]) == ("jobs/2", "sda")


def test_a_traceback_stays_on_one_line(stream: io.StringIO) -> None:
    configure("x", stream=stream)
    try:
        int("missing")
    except ValueError:
        get_logger("a").exception("it broke")
    (line,) = _lines(stream)
    assert "ValueError: invalid literal" in line["exception"]


def test_an_exception_handed_over_is_written_with_its_traceback(stream: io.StringIO) -> None:
    configure("x", stream=stream)
    try:
        int("missing")
    except ValueError as caught:
        error = caught
    get_logger("a").error("it broke", exc_info=error)
    assert "line" in _lines(stream)[0]["exception"]
    assert "ValueError: invalid literal" in _lines(stream)[0]["exception"]


def test_secrets_are_never_written(stream: io.StringIO) -> None:
    configure("x", stream=stream)
    get_logger("a").info("calling", token="hunter2", api_key="hunter2")
    assert "hunter2" not in stream.getvalue()


def test_levels_below_the_chosen_one_are_silent(stream: io.StringIO) -> None:
    configure("x", level="WARNING", stream=stream)
    get_logger("a").info("quiet")
    get_logger("a").warning("loud")
    assert [line["event"] for line in _lines(stream)] == ["loud"]


def test_chatty_libraries_are_quiet_unless_debugging(stream: io.StringIO) -> None:
    configure("x", stream=stream)
    logging.getLogger("httpx").info("GET /")
    assert _lines(stream) == []
    configure("x", level="DEBUG", stream=stream)
    logging.getLogger("httpx").info("GET /")
    assert len(_lines(stream)) == 1


def test_configuring_twice_writes_each_line_once(stream: io.StringIO) -> None:
    configure("x", stream=io.StringIO())
    configure("x", stream=stream)
    get_logger("a").info("once")
    assert len(_lines(stream)) == 1


def test_a_standard_error_that_was_replaced_and_closed_is_left_for_the_new_one(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    old = io.StringIO()
    monkeypatch.setattr("sys.stderr", old)
    configure("x")
    monkeypatch.setattr("sys.stderr", stream)
    old.close()
    get_logger("a").info("still heard")
    assert len(_lines(stream)) == 1


def test_text_format_is_for_people(stream: io.StringIO) -> None:
    configure("x", format="text", stream=stream)
    get_logger("a").info("model loaded", model="models/nano")
    assert "model loaded" in stream.getvalue()
    assert "model=models/nano" in stream.getvalue()


def test_logging_without_configuration_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger("never.configured").info("nobody hears this")
    assert capsys.readouterr() == ("", "")
