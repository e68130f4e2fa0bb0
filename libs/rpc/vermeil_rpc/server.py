"""The server: services in, a running gRPC server out, and an orderly end.

`run` is for a process of one server, `serve` for whoever owns the event loop. Ports speak TLS where
the settings name certificates (`tls`), Unix sockets never.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Self

import grpc
from grpc_reflection.v1alpha import reflection
from vermeil_settings import CommonSettings
from vermeil_telemetry import get_logger

from vermeil_rpc.guards import CallGuard
from vermeil_rpc.health import Health
from vermeil_rpc.listening import listen
from vermeil_rpc.options import server_options
from vermeil_rpc.pipeline import Pipeline
from vermeil_rpc.service import Service

_logger = get_logger(__name__)


class RunningServer:
    """A server that takes calls until it is drained."""

    def __init__(self, server: grpc.aio.Server, health: Health, address: str, grace: float) -> None:
        self.address = address
        """Where clients reach it, with the port that was chosen."""
        self._server = server
        self._health = health
        self._grace = grace
        self._started: list[Service] = []
        self._drained: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The TCP port; 0 on a Unix socket."""
        _, _, port = self.address.rpartition(":")
        return int(port) if port.isdecimal() else 0

    async def start(self, services: Sequence[Service]) -> None:
        """Start the services in order, then take calls."""
        for service in services:
            if service.start is not None:
                await service.start()
            self._started.append(service)
        await self._health.start()
        await self._server.start()

    async def drain(self, grace: float | None = None) -> None:
        """Report NOT_SERVING, take no new calls, let those under way finish within `grace` seconds."""
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain(self._grace if grace is None else grace))
        await asyncio.shield(self._drained)

    async def wait(self) -> None:
        """Return once the server has stopped."""
        await self._server.wait_for_termination()

    async def _drain(self, grace: float) -> None:
        await self._health.drain()
        for service in self._started:
            if service.drain is not None:
                await service.drain()
        await self._server.stop(grace)
        for service in reversed(self._started):
            if service.stop is not None:
                await service.stop()
        _logger.info("server stopped", address=self.address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain()


async def serve(
    services: Sequence[Service], bind: str, settings: CommonSettings, *, probe_every: float = 1.0
) -> RunningServer:
    """Answer for `services` on `bind` (host:port, port 0 takes a free one, or unix:/path)."""
    guard = CallGuard(token=settings.token, max_concurrent=settings.rpc_max_concurrent)
    server = grpc.aio.server(
        interceptors=[Pipeline(guard)], options=server_options(settings.rpc_max_message_bytes)
    )
    health = Health(services, probe_every)
    for service in services:
        service.add_to_server(service.servicer, server)
    health.add_to_server(server)
    names = [service.name for service in services]
    reflection.enable_server_reflection([*names, "grpc.health.v1.Health", reflection.SERVICE_NAME], server)
    address = listen(server, bind, settings.tls)
    running = RunningServer(server, health, address, settings.rpc_grace_seconds)
    try:
        await running.start(services)
    except BaseException:
        await running.drain(grace=0)
        raise
    _logger.info("serving", address=address, rpc_services=names)
    return running


def run(build: Callable[[], Sequence[Service]], bind: str, settings: CommonSettings) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; a second signal ends at once."""
    asyncio.run(_run(build, bind, settings))


async def _run(build: Callable[[], Sequence[Service]], bind: str, settings: CommonSettings) -> None:
    # It may wait for a store, and until then SIGTERM and Ctrl-C end the process at once: asyncio would
    # keep the first Ctrl-C for the next await.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    services = build()
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        told_to_stop.set()
        # Not as loop.remove_signal_handler does it: an exception out of Ctrl-C waits for the loop to turn.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    server = await serve(services, bind, settings)
    await told_to_stop.wait()
    _logger.info("draining", grace_seconds=settings.rpc_grace_seconds)
    await server.drain()
