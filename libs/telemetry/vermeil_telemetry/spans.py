"""OpenTelemetry spans beside our own traceparent. Imported only where tracing is on.

The sampling decision is the flag of the traceparent that a span starts under, never one of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

Attribute = str | int | float | bool


class Spans:
    """Makes spans of one service and hands them to a processor."""

    def __init__(self, service: str, processor: SpanProcessor | None = None) -> None:
        resource = Resource.create({"service.name": f"vermeil-{service}"})
        provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), resource=resource)
        provider.add_span_processor(processor or _exporter())
        self._tracer = provider.get_tracer("vermeil")

    @contextmanager
    def entered(self, name: str, parent: str, attributes: dict[str, Attribute]) -> Iterator[str]:
        """Open a span under the traceparent `parent`; gives the traceparent of what runs inside."""
        context = _as_context(parent)
        with self._tracer.start_as_current_span(name, context=context, attributes=attributes) as span:
            yield _as_header(span.get_span_context())


def _exporter() -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return BatchSpanProcessor(OTLPSpanExporter())


def _as_context(header: str) -> Context:
    _, trace_id, span_id, flags = header.split("-")[:4]
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return trace.set_span_in_context(NonRecordingSpan(parent))


def _as_header(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
