"""The gateway put together and run on a socket, in its own process or in one with other services."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import uvicorn
from fastapi import FastAPI
from vermeil_artifacts import ArtifactStore
from vermeil_errors import Conflict, InvalidInput, Unavailable, VermeilError
from vermeil_telemetry import get_logger

from vermeil_gateway.app import create_app
from vermeil_gateway.bounded_http import BoundedHttp
from vermeil_gateway.clients import Clients
from vermeil_gateway.settings import GatewaySettings
from vermeil_gateway.usage_reports import UsageReports

_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75
_LAST_WORDS_SECONDS = 2
"""After the drain timeout, to tell those still there that they should come again."""
_logger = get_logger(__name__)


class RunningGateway:
    """A gateway that answers until it is stopped."""

    def __init__(
        self, app: FastAPI, clients: Clients, server: uvicorn.Server, url: str, drain_seconds: float
    ) -> None:
        self.url = url
        """Where it answers, such as http://127.0.0.1:8080."""
        self._app = app
        self._clients = clients
        self._server = server
        self._drain_seconds = drain_seconds
        self._reports = UsageReports(clients, app.state.callers)
        self._serving: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Refuse new requests, let those under way end in time, then tell them to come again."""
        state = self._app.state
        state.stopping.set()
        state.admission.close()
        if not await state.admission.emptied(self._drain_seconds):
            state.under_way.break_off()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        await self._reports.stop()
        await self._clients.close()
        _logger.info("gateway stopped", url=self.url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self, listening: socket.socket) -> None:
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.005)
        if self._serving.done():
            listening.close()
            await self._clients.close()
            self._serving.result()
            raise Unavailable("the HTTP server ended before it answered", fix="start it again")
        self._reports.start()


class _Server(uvicorn.Server):
    """Signals are the process's business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def start(settings: GatewaySettings, *, store: ArtifactStore | None = None) -> RunningGateway:
    """Answer on VERMEIL_HTTP_BIND in the running event loop, until `stop`.

    `store` stands in for the one that the settings name, in tests.

    Raises:
        Conflict: Another process listens there.
        InvalidInput: The address is wrong, or open to a network without a key.
        Unavailable: The server ended before it answered.
    """
    settings.require_keys_outside()
    listening = _listen(settings.http_bind)
    clients = Clients.connect(settings)
    app = create_app(settings, clients, store=store)
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_LAST_WORDS_SECONDS,
    )
    gateway = RunningGateway(app, clients, _Server(config), _url(listening), settings.gateway_drain_timeout)
    try:
        await gateway._start(listening)
    except OSError as error:
        raise _why_not(settings.http_bind, error) from error
    _logger.info("gateway answers", url=gateway.url, open_to_all=not settings.api_keys)
    return gateway


def _listen(bind: str) -> socket.socket:
    try:
        if bind.startswith("unix:"):
            path = bind.removeprefix("unix:")
            _clear(path)
            return _listening(socket.socket(socket.AF_UNIX), path)
        host, _, port = bind.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Only where the protocol is named does asyncio send small answers without delay (40 ms).
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _listening(made, (host, int(port)))
    except OSError as error:
        raise _why_not(bind, error) from error


def _listening(made: socket.socket, address: str | tuple[str, int]) -> socket.socket:
    try:
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _clear(path: str) -> None:
    """Remove the socket of a gateway that is gone: the system leaves it there."""
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink(missing_ok=True)


def _why_not(bind: str, error: OSError) -> VermeilError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            "another process listens there",
            field="VERMEIL_HTTP_BIND",
            value=bind,
            fix="stop it, or set another",
        )
    reason = error.strerror or str(error)
    return InvalidInput.for_field("VERMEIL_HTTP_BIND", bind, f"cannot listen there: {reason}", "set another")


def _url(listening: socket.socket) -> str:
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
