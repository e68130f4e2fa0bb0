"""A real server for tests: services on a free port of this machine, gone when the block ends.

async with running([service]) as server:          # in the test's own event loop
with running([service]) as server:                # in a thread, for synchronous clients
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from vermeil_settings import CommonSettings

from vermeil_rpc.server import RunningServer, serve
from vermeil_rpc.service import Service

_START_WITHIN = 120.0


class running:
    """Serves `services` (or what a function returns, called on the serving loop) while the block lasts."""

    def __init__(
        self,
        services: Sequence[Service] | Callable[[], Sequence[Service]],
        *,
        bind: str = "127.0.0.1:0",
        settings: CommonSettings | None = None,
        probe_every: float = 0.02,
    ) -> None:
        self._services = services
        self._bind = bind
        self._settings = settings or local_settings()
        self._probe_every = probe_every
        self._server: RunningServer | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def server(self) -> RunningServer:
        """The server itself, for tests that drain it."""
        assert self._server is not None, "only inside the block"
        return self._server

    @property
    def address(self) -> str:
        """host:port for `connect`."""
        return self.server.address

    async def __aenter__(self) -> Self:
        services = self._services() if callable(self._services) else self._services
        self._server = await serve(services, self._bind, self._settings, probe_every=self._probe_every)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.drain()

    def __enter__(self) -> Self:
        started = threading.Event()
        failed: list[BaseException] = []

        async def live() -> None:
            self._loop = asyncio.get_running_loop()
            try:
                await self.__aenter__()
            except BaseException as error:
                failed.append(error)
                return
            finally:
                started.set()
            await self.server.wait()
            await self.server.drain()

        self._thread = threading.Thread(
            target=lambda: asyncio.run(live()), name="vermeil-rpc-testing", daemon=True
        )
        self._thread.start()
        assert started.wait(_START_WITHIN), "the server did not start"
        if failed:
            raise failed[0]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._thread is not None
        asyncio.run_coroutine_threadsafe(self.server.drain(), self._loop).result()
        self._thread.join(_START_WITHIN)


def local_settings(**changes: object) -> CommonSettings:
    """Defaults that ignore the environment, with a short grace."""
    values: dict[str, Any] = {"rpc_grace_seconds": 0.5, **changes}
    return CommonSettings.model_construct(**values)
