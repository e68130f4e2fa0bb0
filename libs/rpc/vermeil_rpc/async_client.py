"""Asynchronous channels, for services that run on an event loop.

The same promises as `client`: our headers on every call, errors of vermeil_errors on every failure.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
from vermeil_settings import Tls

from vermeil_rpc.options import DEFAULT_MAX_MESSAGE_BYTES, channel_options, is_socket
from vermeil_rpc.outgoing import headers
from vermeil_rpc.renewing import RenewingAsyncChannel
from vermeil_rpc.status import decode
from vermeil_rpc.tls import Credentials


def connect_async(
    address: str,
    *,
    token: str | None = None,
    tls: Tls | None = None,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    name: str = "",
) -> grpc.aio.Channel:
    """A channel to a server of ours, for the running event loop; close it with `await channel.close()`.

    `name` is for errors that go outside, whose readers its address does not concern.

    Raises:
        InvalidInput: A file of `tls` is missing or wrong.
    """
    callers: list[Any] = [_UnaryCaller(address, token, name), _StreamCaller(address, token, name)]
    options = channel_options(max_message_bytes)
    if tls is None or is_socket(address):
        return grpc.aio.insecure_channel(address, options=options, interceptors=callers)
    renewing: Any = RenewingAsyncChannel(
        Credentials(tls), lambda current: grpc.aio.secure_channel(address, current, options, None, callers)
    )
    return cast("grpc.aio.Channel", renewing)


class _UnaryCaller(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    def __init__(self, address: str, token: str | None, name: str) -> None:
        self._address = address
        self._name = name
        self._token = token

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        call = await continuation(_with_headers(client_call_details, self._token), request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise decode(error, self._address, self._name) from error
        return call


class _StreamCaller(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    def __init__(self, address: str, token: str | None, name: str) -> None:
        self._address = address
        self._name = name
        self._token = token

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        call = await continuation(_with_headers(client_call_details, self._token), request)
        return self._decoded(call)

    async def _decoded(self, call: Any) -> AsyncIterator[Any]:
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise decode(error, self._address, self._name) from error
        finally:
            call.cancel()


def _with_headers(given: grpc.aio.ClientCallDetails, token: str | None) -> grpc.aio.ClientCallDetails:
    return grpc.aio.ClientCallDetails(
        given.method,
        given.timeout,
        grpc.aio.Metadata(*headers(given.metadata, token)),
        given.credentials,
        given.wait_for_ready,
    )
