"""What a call passes before and after its handler: telemetry, errors, token, deadline, limit.

Handlers raise errors of the tree and know none of this.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from time import perf_counter
from traceback import clear_frames

import grpc
from prometheus_client import Histogram
from vermeil_errors import (
    InvalidInput,
    Overloaded,
    Unauthenticated,
    Unimplemented,
    VermeilError,
    from_exception,
)
from vermeil_telemetry import begin_request, get_logger, histogram, span

from vermeil_rpc.behalf import OWNER, begin_on_behalf_of
from vermeil_rpc.pipeline import Call
from vermeil_rpc.status import DETAILS_KEY, UPDATE, encode

REQUEST_ID = "x-request-id"
"""Header that names a request in every log."""
_logger = get_logger(__name__)


class CallGuard:
    """The guard of a server's calls; one per server, because it counts them."""

    def __init__(self, *, token: str | None, max_concurrent: int) -> None:
        self._token = token
        self._max_concurrent = max_concurrent
        self.num_active = 0

    @asynccontextmanager
    async def __call__(self, call: Call) -> AsyncIterator[None]:
        """Watch over one call. gRPC runs each in a task of its own, which `begin_request` needs."""
        started = perf_counter()
        request_id = begin_request(call.header("traceparent"), call.header(REQUEST_ID), method=call.method)
        begin_on_behalf_of(call.header(OWNER))
        code = "OK"
        try:
            self._admit(call)
            self.num_active += 1
            try:
                with span(call.method[1:], **{"rpc.system": "grpc"}):
                    yield
            finally:
                self.num_active -= 1
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as raised:
            error = _seen(call, raised)
            code = error.grpc_status
            await _abort(call, error, raised, request_id)
        finally:
            seconds = perf_counter() - started
            _duration(call.method, code).observe(seconds)
            _logger.debug("call", code=code, seconds=seconds)

    def _admit(self, call: Call) -> None:
        if self._token is not None:
            _check_token(call, self._token)
        if call.context.time_remaining() is None:
            raise InvalidInput(
                "the call has no deadline", fix="pass timeout=SECONDS (grpcurl: -max-time SECONDS)"
            )
        if self.num_active >= self._max_concurrent:
            raise Overloaded(f"{self._max_concurrent} calls are under way already", fix="try again shortly")


def _check_token(call: Call, token: str) -> None:
    given = (call.header("authorization") or "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        problem = "the service token is wrong" if given else "the call carries no service token"
        raise Unauthenticated(problem, fix="give both sides the same VERMEIL_SERVICE_TOKEN")


def _seen(call: Call, raised: Exception) -> VermeilError:
    """The tree's view of what a handler raised; the generated ones say by a code that nobody wrote theirs."""
    if isinstance(raised, NotImplementedError) and call.context.code() is grpc.StatusCode.UNIMPLEMENTED:
        service, _, method = call.method[1:].partition("/")
        return Unimplemented(f"this version of {service} does not know {method}", fix=UPDATE)
    return from_exception(raised)


async def _abort(call: Call, error: VermeilError, raised: Exception, request_id: str) -> None:
    if error.http_status >= 500 and not error.retryable and not isinstance(error, Unimplemented):
        _logger.error("call failed", reason=error.reason, exc_info=raised)
    else:
        _logger.info("call refused", reason=error.reason, error=str(error))
    clear_frames(raised.__traceback__)  # gRPC keeps it in a circle, and with it all that the call worked on
    status = encode(error, request_id)
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await call.context.abort(grpc.StatusCode[error.grpc_status], status.message, details)


@cache
def _duration(method: str, code: str) -> Histogram:
    durations = histogram("rpc_server_seconds", "Duration of calls answered, in seconds.", ["method", "code"])
    return durations.labels(method, code)
