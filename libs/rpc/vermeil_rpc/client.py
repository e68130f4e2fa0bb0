"""Synchronous channels, for threads: workers, the command line, tests.

A failed call raises an error of vermeil_errors, whether it fails at once, in `.result()` or in the
middle of a stream. Callers pass `timeout=` to every call; servers refuse calls without.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
from vermeil_settings import Tls

from vermeil_rpc.options import DEFAULT_MAX_MESSAGE_BYTES, channel_options, is_socket
from vermeil_rpc.outgoing import Headers, headers
from vermeil_rpc.renewing import RenewingChannel
from vermeil_rpc.status import decode
from vermeil_rpc.tls import Credentials


def connect(
    address: str,
    *,
    token: str | None = None,
    tls: Tls | None = None,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> grpc.Channel:
    """A channel to a server of ours. It connects by itself when first used, and again when cut.

    Raises:
        InvalidInput: A file of `tls` is missing or wrong.
    """
    options = channel_options(max_message_bytes)
    channel: Any
    if tls is None or is_socket(address):
        channel = grpc.insecure_channel(address, options=options)
    else:
        channel = RenewingChannel(
            Credentials(tls), lambda current: grpc.secure_channel(address, current, options=options)
        )
    return grpc.intercept_channel(channel, _Caller(address, token))


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Headers
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Answer:
    """A call in flight or over; like the one it holds, but with errors of the tree."""

    def __init__(self, call: Any, address: str) -> None:
        self._call = call
        self._address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def result(self, timeout: float | None = None) -> Any:
        try:
            return self._call.result(timeout)
        except grpc.RpcError as error:
            raise decode(error, self._address) from error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = self._call.exception(timeout)
        return decode(error, self._address) if isinstance(error, grpc.RpcError) else error

    def __iter__(self) -> "_Answer":
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise decode(error, self._address) from error


class _Caller(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
):
    """Adds our headers to a call and our errors to its answer."""

    def __init__(self, address: str, token: str | None) -> None:
        self._address = address
        self._token = token

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return _Answer(continuation(self._details(client_call_details), request), self._address)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return _Answer(continuation(self._details(client_call_details), request), self._address)

    def _details(self, given: grpc.ClientCallDetails) -> _Details:
        return _Details(
            given.method,
            given.timeout,
            headers(given.metadata, self._token),
            given.credentials,
            given.wait_for_ready,
            given.compression,
        )
