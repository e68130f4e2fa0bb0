"""A channel that lives on when its certificate is replaced: each call goes by the newest one.

gRPC's channels keep the credentials they were made with, and stubs keep their channel; so this
stands between, and makes another channel when the files have changed. The ones before are kept
until all are closed, because calls may still run on them; renewals are rare.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Self

import grpc

from vermeil_rpc.tls import Credentials

OpenChannel = Callable[[grpc.ChannelCredentials], Any]


class _Renewing:
    """What both kinds of channels have in common."""

    def __init__(self, credentials: Credentials, open_channel: OpenChannel) -> None:
        self._credentials = credentials
        self._open = open_channel
        self._lock = threading.Lock()
        self._channels = [open_channel(credentials.for_channel())]

    def newest(self) -> Any:
        """The channel of the files as they are now."""
        with self._lock:
            if self._credentials.renewed():
                self._channels.append(self._open(self._credentials.for_channel()))
            return self._channels[-1]

    def unary_unary(self, *given: Any, **named: Any) -> "_Method":
        return _Method(self, "unary_unary", given, named)

    def unary_stream(self, *given: Any, **named: Any) -> "_Method":
        return _Method(self, "unary_stream", given, named)

    def stream_unary(self, *given: Any, **named: Any) -> "_Method":
        return _Method(self, "stream_unary", given, named)

    def stream_stream(self, *given: Any, **named: Any) -> "_Method":
        return _Method(self, "stream_stream", given, named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.newest(), name)


class _Method:
    """One method of a stub, on whichever channel is the newest."""

    def __init__(self, channel: _Renewing, kind: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._channel = channel
        self._kind = kind
        self._given = given
        self._named = named

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._now()(*given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)

    def _now(self) -> Any:
        return getattr(self._channel.newest(), self._kind)(*self._given, **self._named)


class RenewingChannel(_Renewing):
    """For threads."""

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RenewingAsyncChannel(_Renewing):
    """For event loops."""

    async def close(self, grace: float | None = None) -> None:
        await asyncio.gather(*(channel.close(grace) for channel in self._channels))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
