"""`vermeil up`: every service in this process, a worker and the demo beside it, until told to stop.

What runs here are the services' own wirings; this file only gives them one server, one address book
and one end.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import vermeil_gateway.wiring
from vermeil_gateway.settings import GatewaySettings
from vermeil_rpc import serve
from vermeil_telemetry import configure, get_logger

from vermeil_local.home import Home
from vermeil_local.ports import check_free
from vermeil_local.services import build_image_encoder, build_services
from vermeil_local.settings import LocalSettings
from vermeil_local.supervise import Child

_ANY_PORT = "127.0.0.1:0"
_DEMO_GRACE_SECONDS = 5.0

log = get_logger(__name__)


def run(settings: LocalSettings, say: Callable[[str], None]) -> None:
    """Run in the foreground until SIGTERM or Ctrl-C.

    Raises:
        Conflict: The home or a port is taken.
        InvalidInput: A setting is wrong.
    """
    began = time.monotonic()
    home = Home(settings.home)
    check_free(settings)
    with home.held():
        os.environ.update(settings.environment())
        with (home.logs / "services.log").open("a", buffering=1) as stream:
            configure("services", level=settings.log_level, format=settings.log_format, stream=stream)
            asyncio.run(_run(settings, home, say, began))
        say("stopped; nothing is lost")


async def _run(settings: LocalSettings, home: Home, say: Callable[[str], None], began: float) -> None:
    told_to_stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, told_to_stop.set)
    async with AsyncExitStack() as stack:
        encoder = await stack.enter_async_context(await serve(build_image_encoder(), _ANY_PORT, settings))
        # Everybody who reads the environment from here on, the worker too, finds it there.
        os.environ["VERMEIL_ENCODER_IMAGE_ADDRESS"] = encoder.address
        worker = Child(
            ["vermeil_local.worker", str(os.getpid())], settings.environment(), home.logs / "worker.log"
        )
        keeper = asyncio.create_task(worker.keep_running())
        try:
            server = await stack.enter_async_context(await serve(build_services(), settings.bind, settings))
            gateway = await stack.enter_async_context(
                await vermeil_gateway.wiring.start(GatewaySettings.load())
            )
            await _until_ready(home, keeper, told_to_stop)
            if not told_to_stop.is_set():
                page = f"http://{settings.demo_bind}" if settings.demo else ""
                home.announce(gateway.url, server.address, encoder.address, page)
                say(f"ready in {time.monotonic() - began:.1f} s at {gateway.url} · API: {gateway.url}/docs")
                if page:
                    say(f"demo {page} · opens in a few seconds")
                    await stack.enter_async_context(_demo(settings, home, gateway.url))
                say(f"home {home.path} · logs {home.logs} · Ctrl-C stops it")
            await told_to_stop.wait()
            say("stopping …")
        finally:
            keeper.cancel()
            await worker.end(settings.drain_seconds)


def _demo(settings: LocalSettings, home: Home, gateway: str) -> AbstractAsyncContextManager[None]:
    """The demo's process, begun once all else is ready: loading it takes seconds of a processor."""
    environment = {**settings.environment(), "VERMEIL_URL": gateway}
    if keys := GatewaySettings.load().api_keys:
        environment["VERMEIL_API_KEY"] = keys[0]
    child = Child(["vermeil_local.demo", str(os.getpid())], environment, home.logs / "demo.log")
    return child.kept_running(_DEMO_GRACE_SECONDS)


async def _until_ready(home: Home, keeper: "asyncio.Task[None]", told_to_stop: asyncio.Event) -> None:
    while not (home.worker_ready.exists() or told_to_stop.is_set()):
        if keeper.done():
            keeper.result()
        await asyncio.sleep(0.02)
