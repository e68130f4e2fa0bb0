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
from typing import TYPE_CHECKING

from structlog.contextvars import bind_contextvars, get_contextvars

from vermeil_telemetry.logs import bound

if TYPE_CHECKING:
    from vermeil_telemetry.spans import Spans

SAMPLED_FRACTION = 0.05
"""Part of new traces that is exported where tracing is on."""

_MAX_REQUEST_ID = 128
_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_current: ContextVar[str | None] = ContextVar("vermeil_traceparent", default=None)
_spans: "Spans | None" = None


def new_request_id() -> str:
    """A fresh id for a request, 16 hexadecimal digits."""
    return secrets.token_hex(8)


def current_request_id() -> str:
    """The id bound as `request_id`; a fresh one outside of any request."""
    bound_id = get_contextvars().get("request_id")
    return str(bound_id) if bound_id else new_request_id()


def current_traceparent() -> str:
    """The traceparent to send along; a fresh one where no trace is under way."""
    return _current.get() or _fresh()


@contextmanager
def traceparent(value: str | None) -> Iterator[str]:
    """Adopt the caller's traceparent, or start a trace where there is none or it is malformed."""
    header = _adopted(value) or _fresh()
    with _entered(header):
        yield header


def begin_request(header: str | None, request_id: str | None, **fields: object) -> str:
    """Make the current task serve one request, to its end; gives the id it goes by.

    For servers that run each request in a task of its own: nothing has to be undone.
    """
    header = _adopted(header) or _fresh()
    chosen = request_id if request_id and len(request_id) <= _MAX_REQUEST_ID else new_request_id()
    _current.set(header)
    bind_contextvars(trace_id=header[3:35], request_id=chosen, **fields)
    return chosen


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """A named piece of the current trace; costs nothing while tracing is off."""
    if _spans is None:
        yield
        return
    with _spans.entered(name, current_traceparent(), attributes) as header, _entered(header):
        yield


def start_tracing(service: str) -> None:
    """Export spans from now on, if OTEL_EXPORTER_OTLP_ENDPOINT says where to."""
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from vermeil_telemetry.spans import Spans  # noqa: PLC0415

        use_spans(Spans(service))


def use_spans(spans: "Spans | None") -> None:
    """Make `spans` the maker of this process's spans; None turns tracing off."""
    global _spans  # noqa: PLW0603
    _spans = spans


@contextmanager
def _entered(header: str) -> Iterator[None]:
    token = _current.set(header)
    try:
        with bound(trace_id=header[3:35]):
            yield
    finally:
        _current.reset(token)


def _fresh() -> str:
    trace_id = secrets.token_hex(16)
    sampled = _spans is not None and int(trace_id[16:], 16) < SAMPLED_FRACTION * 2**64
    return f"00-{trace_id}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"


def _adopted(header: str | None) -> str | None:
    """What is sent along of a caller's header: the four parts that we know, and of a later version no more.

    What it has behind them would go into the headers of every call, which take neither all bytes nor many.
    """
    match = _PATTERN.fullmatch(header or "")
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    _, trace_id, span_id, flags, _ = match.groups()
    return f"00-{trace_id}-{span_id}-{flags}" if int(trace_id, 16) and int(span_id, 16) else None
