"""Trace context travels, and spans are exported only when asked for."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from vermeil_telemetry import (
    begin_request,
    bound,
    current_request_id,
    current_traceparent,
    new_request_id,
    span,
    trace,
    traceparent,
)
from vermeil_telemetry.spans import Spans

SAMPLED = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNSAMPLED = SAMPLED[:-1] + "0"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    trace.use_spans(Spans("test", SimpleSpanProcessor(exporter)))
    yield exporter
    trace.use_spans(None)


def test_an_adopted_traceparent_is_passed_on() -> None:
    with traceparent(SAMPLED) as header:
        assert header == current_traceparent() == SAMPLED
    assert current_traceparent() != SAMPLED


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        "nonsense",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
        SAMPLED.upper(),
        f"{SAMPLED}-more",
        f"ff{SAMPLED[2:]}",
    ],
)
def test_a_missing_or_malformed_traceparent_starts_a_fresh_trace(bad: str | None) -> None:
    with traceparent(bad) as header:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", header)
        assert current_traceparent() == header


@pytest.mark.parametrize("behind", ["", "-more", "-" + "a" * 20_000, "-\t\xe9\n"])
def test_of_a_later_version_only_what_is_known_goes_on(behind: str) -> None:
    with traceparent(f"01{SAMPLED[2:]}{behind}") as header:
        assert header == current_traceparent() == SAMPLED


def test_request_ids_are_short_and_never_repeat() -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_the_bound_request_id_is_the_current_one() -> None:
    with bound(request_id="r1"):
        assert current_request_id() == "r1"
    assert current_request_id() != "r1"


def test_a_task_that_serves_a_request_carries_its_ids_and_no_other_task_does() -> None:
    async def serve(header: str | None, request_id: str | None) -> tuple[str, str, str]:
        return begin_request(header, request_id), current_request_id(), current_traceparent()

    async def both() -> list[tuple[str, str, str]]:
        return list(await asyncio.gather(serve(SAMPLED, "r1"), serve(None, "x" * 129)))

    first, second = asyncio.run(both())
    assert first == ("r1", "r1", SAMPLED)
    assert re.fullmatch("[0-9a-f]{16}", second[0])
    assert second[0] == second[1]
    assert second[2] != SAMPLED


def test_a_span_changes_nothing_while_tracing_is_off() -> None:
    with traceparent(SAMPLED), span("work"):
        assert current_traceparent() == SAMPLED


def test_a_sampled_request_exports_its_spans_and_passes_the_new_parent_on(
    exporter: InMemorySpanExporter,
) -> None:
    with traceparent(SAMPLED), span("work", job="jobs/1"):
        inner = current_traceparent()
    (exported,) = exporter.get_finished_spans()
    assert exported.name == "work"
    assert exported.attributes == {"job": "jobs/1"}
    assert inner.split("-")[1] == "a" * 32
    assert inner.split("-")[2] != "b" * 16


def test_a_request_that_was_not_sampled_exports_nothing(exporter: InMemorySpanExporter) -> None:
    with traceparent(UNSAMPLED), span("work"):
        assert current_traceparent().endswith("-00")
    assert exporter.get_finished_spans() == ()


def test_about_one_in_twenty_new_traces_is_sampled(exporter: InMemorySpanExporter) -> None:
    sampled = sum(current_traceparent().endswith("-01") for _ in range(4000))
    assert 120 < sampled < 290


def test_nothing_is_exported_without_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    trace.start_tracing("test")
    assert all(current_traceparent().endswith("-00") for _ in range(200))
