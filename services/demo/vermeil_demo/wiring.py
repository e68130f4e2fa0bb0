"""The demo put together and run on a socket.

The socket listens before Gradio is loaded, which takes seconds: a browser that comes early waits.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import uvicorn
from vermeil_errors import Conflict, InvalidInput, VermeilError
from vermeil_telemetry import get_logger

from vermeil_demo.clients import Gateway
from vermeil_demo.settings import DemoSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

_BACKLOG = 128
_DRAIN_SECONDS = 2
_logger = get_logger(__name__)


class RunningDemo:
    """A page that answers until it is stopped."""

    def __init__(self, url: str, server: uvicorn.Server) -> None:
        self.url = url
        """Where it answers, such as http://127.0.0.1:7860."""
        self._server = server
        self._serving: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self, listening: socket.socket) -> None:
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.01)


class _Server(uvicorn.Server):
    """Signals are the process's business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def start(settings: DemoSettings, *, gateway: Gateway | None = None) -> RunningDemo:
    """Answer on VERMEIL_DEMO_BIND in the running event loop, until `stop`.

    `gateway` stands in for the gateway that the settings name, in tests.

    Raises:
        Conflict: Another process listens there.
        InvalidInput: The address is wrong, or open to a network without a password.
    """
    settings.require_password_outside()
    listening = _listen(settings)
    host, port = listening.getsockname()[:2]
    app = _create_app(settings, gateway)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    demo = RunningDemo(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", _Server(config))
    await demo._start(listening)
    _logger.info("demo answers", url=demo.url)
    return demo


def _create_app(settings: DemoSettings, gateway: Gateway | None) -> "FastAPI":
    # Read where Gradio is imported: it calls nobody, and keeps its files with ours.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(settings.home / "demo"))
    from vermeil_demo.app import create_app  # noqa: PLC0415 loads Gradio

    return create_app(settings, gateway or Gateway.at(settings.gateway_url()))


def _listen(settings: DemoSettings) -> socket.socket:
    host, port = settings.host_and_port
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise _why_not(settings.demo_bind, error) from error
    return listening


def _why_not(bind: str, error: OSError) -> VermeilError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            "another process listens there",
            field="VERMEIL_DEMO_BIND",
            value=bind,
            fix="stop it, or set another",
        )
    reason = error.strerror or str(error)
    return InvalidInput.for_field("VERMEIL_DEMO_BIND", bind, f"cannot listen there: {reason}", "set another")
