"""The outermost layer: ids that travel, one log line and two metrics for each request.

Pure ASGI, so that streams pass through untouched. The last resort for errors is here too.
"""

import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from vermeil_telemetry import bound, counter, get_logger, histogram, new_request_id, span, traceparent

from vermeil_gateway.problems import known, problem_response
from vermeil_gateway.spent import Spent

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

_requests = counter("gateway_requests", "Requests answered", ["method", "route", "status"])
_seconds = histogram("gateway_request_seconds", "Time to the end of the answer", ["method", "route"])
_first = histogram("gateway_first_byte_seconds", "Time to the first byte of an answer's body", ["route"])
_tokens = counter("gateway_tokens", "Tokens of prompts (read) and answers (written)", ["kind"])
_logger = get_logger(__name__)


class Observed:
    """Gives every request its id and trace, and tells how it went."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_request_id()
        scope.setdefault("state", {}).update(request_id=request_id, spent=Spent())
        with traceparent(headers.get("traceparent")), bound(request_id=request_id), span("http request"):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        began = time.perf_counter()
        status, first = 0, 0.0

        async def send_with_id(message: Message) -> None:
            nonlocal status, first
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
            elif not first:
                first = time.perf_counter() - began
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if status:
                raise
            await problem_response(known(error))(scope, receive, send_with_id)
        finally:
            _tell(scope, status, first, time.perf_counter() - began)


def _tell(scope: Scope, status: int, first: float, seconds: float) -> None:
    """The access log: who asked for what, how it went and what it cost; no body, no key, no query."""
    state = scope["state"]
    spent: Spent = state["spent"]
    route = getattr(scope.get("route"), "path", "none")
    _requests.labels(scope["method"], route, status or 499).inc()
    _seconds.labels(scope["method"], route).observe(seconds)
    if first:
        _first.labels(route).observe(first)
    for kind, tokens in (("read", spent.read), ("written", spent.written)):
        _tokens.labels(kind).inc(tokens)
    if route not in _QUIET:
        _logger.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            route=route,
            caller=state.get("caller", "nobody"),
            status=status or 499,
            ms=round(seconds * 1000, 1),
            first_ms=round(first * 1000, 1),
            tokens_read=spent.read,
            tokens_written=spent.written,
            **({"unread": True} if state.get("unread") else {}),
        )
