"""Calls that stream their requests pass the same guard; no contract has one yet."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest
from vermeil_rpc import Service
from vermeil_rpc.testing import running

OnLoop = Callable[[Coroutine[Any, Any, Any]], Any]


async def _count(requests: AsyncIterator[bytes], _context: Any) -> bytes:
    return str(len([each async for each in requests])).encode()


async def _echo(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for each in requests:
        yield each


async def _echo_by_writing(requests: AsyncIterator[bytes], context: Any) -> None:
    async for each in requests:
        await context.write(each)


def _add(_servicer: object, server: grpc.aio.Server) -> None:
    handlers: dict[str, Any] = {
        "Count": grpc.stream_unary_rpc_method_handler(_count),
        "Echo": grpc.stream_stream_rpc_method_handler(_echo),
        "EchoByWriting": grpc.stream_stream_rpc_method_handler(_echo_by_writing),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Streams", handlers)])


async def _requests(*each_of: bytes) -> AsyncIterator[bytes]:
    for each in each_of:
        yield each


@pytest.mark.parametrize(
    ("method", "expected"), [("Count", b"3"), ("Echo", b"abc"), ("EchoByWriting", b"abc")]
)
def test_streamed_requests_are_answered_but_not_without_a_deadline(
    method: str, expected: bytes, on_loop: OnLoop
) -> None:
    async def ask(channel: Any, requests: AsyncIterator[bytes], timeout: float | None) -> bytes:
        path = f"/test.Streams/{method}"
        if method == "Count":
            answer: bytes = await channel.stream_unary(path)(requests, timeout=timeout)
            return answer
        return b"".join([each async for each in channel.stream_stream(path)(requests, timeout=timeout)])

    async def scenario() -> None:
        async with (
            running([Service("test.Streams", _add, None)]) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            assert await ask(channel, _requests(b"a", b"b", b"c"), timeout=30) == expected
            with pytest.raises(grpc.RpcError) as caught:
                await ask(channel, _requests(), timeout=None)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    on_loop(scenario())
