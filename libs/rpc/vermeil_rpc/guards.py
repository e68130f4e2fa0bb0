"""What a call passes before and after its handler: telemetry, errors, token, deadline, limit.

Handlers raise errors of the tree and know none of this.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter

import grpc
from vermeil_errors import InvalidInput, Overloaded, Unauthenticated, from_exception
from vermeil_telemetry import bound, get_logger, histogram, new_request_id, span, traceparent

from vermeil_rpc.pipeline import Call
from vermeil_rpc.status import DETAILS_KEY, encode

REQUEST_ID = "x-request-id"
"""Header that names a request in every log."""
_logger = get_logger(__name__)
_durations = histogram("rpc_server_seconds", "Duration of calls answered, in seconds.", ["method", "code"])


class CallGuard:
    """The guard of a server's calls; one per server, because it counts them."""

    def __init__(self, *, token: str | None, max_concurrent: int) -> None:
        self._token = token
        self._max_concurrent = max_concurrent
        self.num_active = 0

    @asynccontextmanager
    async def __call__(self, call: Call) -> AsyncIterator[None]:
        """Watch over one call."""
        given = call.header(REQUEST_ID) or ""
        request_id = given if 0 < len(given) <= 128 else new_request_id()
        with traceparent(call.header("traceparent")), bound(request_id=request_id, method=call.method):
            async with _observed(call), _errors_encoded(call, request_id):
                _check_token(call, self._token)
                _check_deadline(call)
                with self._slot():
                    yield

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self.num_active >= self._max_concurrent:
            raise Overloaded(f"{self._max_concurrent} calls are under way already", fix="try again shortly")
        self.num_active += 1
        try:
            yield
        finally:
            self.num_active -= 1


@asynccontextmanager
async def _observed(call: Call) -> AsyncIterator[None]:
    started = perf_counter()
    try:
        with span(call.method.removeprefix("/"), **{"rpc.system": "grpc"}):
            yield
    except asyncio.CancelledError:
        call.code = "CANCELLED"
        raise
    finally:
        seconds = perf_counter() - started
        _durations.labels(call.method, call.code).observe(seconds)
        _logger.debug("call", code=call.code, seconds=round(seconds, 6))


@asynccontextmanager
async def _errors_encoded(call: Call, request_id: str) -> AsyncIterator[None]:
    try:
        yield
    except grpc.aio.AbortError:
        call.code = "ABORTED"
        raise
    except Exception as raised:
        error = from_exception(raised)
        call.code = error.grpc_status
        if error.http_status >= 500 and not error.retryable:
            _logger.exception("call failed", reason=error.reason)
        else:
            _logger.info("call refused", reason=error.reason, error=str(error))
        status = encode(error, request_id)
        details = ((DETAILS_KEY, status.SerializeToString()),)
        await call.context.abort(grpc.StatusCode[error.grpc_status], status.message, details)


def _check_token(call: Call, token: str | None) -> None:
    if token is None:
        return
    given = (call.header("authorization") or "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        problem = "the service token is wrong" if given else "the call carries no service token"
        raise Unauthenticated(problem, fix="give both sides the same VERMEIL_SERVICE_TOKEN")


def _check_deadline(call: Call) -> None:
    if call.context.time_remaining() is None:
        raise InvalidInput(
            "the call has no deadline", fix="pass timeout=SECONDS (grpcurl: -max-time SECONDS)"
        )
