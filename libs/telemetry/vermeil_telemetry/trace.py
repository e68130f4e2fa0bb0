"""Trace context: one id that finds a request in every log, row and span.

The W3C traceparent is kept in a context variable and always passed along. Spans are exported only
when OTEL_EXPORTER_OTLP_ENDPOINT is set, for 5 % of the requests that bring no decision with them.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from vermeil_telemetry.logs import bound

SAMPLED_FRACTION = 0.05
"""Part of new traces that is exported where tracing is on."""

_PATTERN = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_current: ContextVar[str | None] = ContextVar("vermeil_traceparent", default=None)
_tracer: trace.Tracer | None = None


def new_request_id() -> str:
    """A fresh id for a request, 16 hexadecimal digits."""
    return secrets.token_hex(8)


def current_traceparent() -> str:
    """The traceparent to send along; a fresh one where no trace is under way."""
    return _current.get() or _fresh()


@contextmanager
def traceparent(value: str | None) -> Iterator[str]:
    """Adopt the caller's traceparent, or start a trace where there is none or it is malformed."""
    header = value if value and _is_valid(value) else _fresh()
    with _entered(header):
        yield header


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """A named piece of the current trace; costs nothing while tracing is off."""
    if _tracer is None:
        yield
        return
    with (
        _tracer.start_as_current_span(
            name, context=_as_context(current_traceparent()), attributes=attributes
        ) as it,
        _entered(_as_header(it.get_span_context())),
    ):
        yield


def start_tracing(service: str, processor: SpanProcessor | None = None) -> None:
    """Export spans to OTEL_EXPORTER_OTLP_ENDPOINT, or to `processor`; does nothing without either."""
    global _tracer  # noqa: PLW0603
    if processor is None and not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_OFF), resource=Resource.create({"service.name": f"vermeil-{service}"})
    )
    provider.add_span_processor(processor or _exporter())
    _tracer = provider.get_tracer("vermeil")


def stop_tracing() -> None:
    """Turn spans off again; what was not exported yet is dropped."""
    global _tracer  # noqa: PLW0603
    _tracer = None


def _exporter() -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return BatchSpanProcessor(OTLPSpanExporter())


@contextmanager
def _entered(header: str) -> Iterator[None]:
    token = _current.set(header)
    try:
        with bound(trace_id=header.split("-")[1]):
            yield
    finally:
        _current.reset(token)


def _fresh() -> str:
    trace_id = secrets.token_hex(16)
    sampled = _tracer is not None and int(trace_id[16:], 16) < SAMPLED_FRACTION * 2**64
    return f"00-{trace_id}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"


def _is_valid(header: str) -> bool:
    match = _PATTERN.fullmatch(header)
    return bool(match and int(match[1], 16) and int(match[2], 16) and not header.startswith("ff"))


def _as_context(header: str) -> Context:
    _, trace_id, span_id, flags = header.split("-")[:4]
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return trace.set_span_in_context(NonRecordingSpan(parent))


def _as_header(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
