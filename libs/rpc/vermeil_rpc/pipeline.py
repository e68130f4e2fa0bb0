"""One interceptor around every handler: whatever kind of call, it runs inside one guard.

Streamed answers are written from the same task that runs the guard, so a client that goes away
cancels guard and handler together, and context variables never leak between calls. Requests are read inside
it too: gRPC itself would call bytes that are no message an unknown error of ours.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from inspect import isasyncgen
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from vermeil_errors import InvalidInput

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Found: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

EXEMPT = ("/grpc.health.", "/grpc.reflection.")
"""Methods of standard tools, which send neither tokens nor, often, deadlines."""
_GONE_SECONDS = 10.0
"""Within which gRPC cancels a call whose end it has noticed: at once, where its thread has a core."""


@dataclass(frozen=True)
class Call:
    """One call on the server's side."""

    method: str
    """Full name, such as "/vermeil.job.v1.JobService/GetJob"."""
    context: Context
    """gRPC's own view of it."""

    def header(self, name: str) -> str | None:
        """Value of a header of the request, in lower-case; None if absent or binary."""
        for key, value in self.context.invocation_metadata() or ():
            if key == name and isinstance(value, str):
                return value
        return None


Guard = Callable[[Call], AbstractAsyncContextManager[None]]
"""Entered before a handler and left after it; raises to refuse the call."""


class Pipeline(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Runs every handler inside `guard`, except the exempt ones."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def intercept_service(  # type: ignore[override]
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Found]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Found:
        """gRPC asks for the handler of a call; give it the guarded one."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(EXEMPT):
            return handler
        return _guarded(handler, handler_call_details.method, self._guard)


def _guarded(handler: _Handler, method: str, guard: Guard) -> _Handler:
    read = _reader(handler)

    async def one_answer(sent: Any, context: Context) -> Any:
        inner: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary
        async with guard(Call(method, context)):
            return await inner(read(sent), context)

    async def many_answers(sent: Any, context: Context) -> None:
        inner: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
        async with guard(Call(method, context)):
            answers = inner(read(sent), context)
            if not isasyncgen(answers):
                await answers
                return
            async with aclosing(answers):
                async for answer in answers:
                    await _write(context, answer)

    make: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    guarded: _Handler = make(
        many_answers if handler.response_streaming else one_answer,
        request_deserializer=None,
        response_serializer=handler.response_serializer,
    )
    return guarded


async def _write(context: Context, answer: Any) -> None:
    try:
        await context.write(answer)
    except grpc.aio.InternalError:
        # The caller has gone and gRPC will cancel this task; as an error it would be told as ours.
        await asyncio.sleep(_GONE_SECONDS)
        raise


def _reader(handler: _Handler) -> Callable[[Any], Any]:
    """From what was sent, or a stream of that, to what the handler takes."""
    parse: Callable[[bytes], Any] = handler.request_deserializer or bytes

    def one(body: bytes) -> Any:
        try:
            return parse(body)
        except DecodeError as error:
            raise InvalidInput(
                f"the request's {len(body)} bytes are no message of this method: {error}",
                fix="send what the contract says",
            ) from error

    async def each(bodies: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for body in bodies:
            yield one(body)

    return each if handler.request_streaming else one
