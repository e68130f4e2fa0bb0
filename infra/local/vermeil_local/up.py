"""`vermeil up`: the services in this process, generator, worker and demo beside it, until told to stop.

What runs here are the services' own wirings; this file only gives them one server, one address book
and one end.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from tempfile import TemporaryDirectory

import vermeil_gateway.wiring
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from vermeil_errors import VermeilError
from vermeil_gateway.settings import GatewaySettings
from vermeil_rpc import Service, connect_async, serve
from vermeil_telemetry import configure, get_logger

from vermeil_local.home import Home, Running
from vermeil_local.ports import check_free
from vermeil_local.settings import LocalSettings
from vermeil_local.supervise import Child

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
        # Sockets in a folder: a port could be somebody else's by the time a process is replaced, and
        # what is known before anything runs lets all processes load at the same time.
        folder = stack.enter_context(TemporaryDirectory(prefix="vermeil-"))
        generator, encoder = f"unix:{folder}/generator", f"unix:{folder}/image-encoder"
        # Everybody who reads the environment from here on, other processes too, finds them there.
        os.environ["VERMEIL_GENERATOR_ADDRESS"] = generator
        os.environ["VERMEIL_ENCODER_IMAGE_ADDRESS"] = encoder
        answering = _child("generator", settings, home, VERMEIL_BIND=generator)
        await stack.enter_async_context(answering.kept_running(settings.drain_seconds))
        worker = _child("worker", settings, home)
        keeper = asyncio.create_task(worker.keep_running())
        try:
            services, own = await asyncio.to_thread(_load)
            server = await stack.enter_async_context(await serve(services, settings.bind, settings))
            await stack.enter_async_context(await serve(own, encoder, settings))
            gateway = await stack.enter_async_context(
                await vermeil_gateway.wiring.start(GatewaySettings.load())
            )
            await _until_ready(home, keeper, told_to_stop, generator)
            if not told_to_stop.is_set():
                page = f"http://{settings.demo_bind}" if settings.demo else ""
                addresses = (gateway.url, server.address, encoder, generator)
                home.announce(Running(os.getpid(), *addresses, demo=page))
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


def _load() -> tuple[list[Service], list[Service]]:
    """The services of the common server and of the image encoder's; in a thread, for it takes seconds."""
    from vermeil_local.services import build_image_encoder, build_services  # noqa: PLC0415

    return build_services(), build_image_encoder()


def _child(name: str, settings: LocalSettings, home: Home, **variables: str) -> Child:
    """A module of this package as a process that ends with this one."""
    module = [f"vermeil_local.{name}", str(os.getpid())]
    return Child(module, {**settings.environment(), **variables}, home.logs / f"{name}.log")


def _demo(settings: LocalSettings, home: Home, gateway: str) -> AbstractAsyncContextManager[None]:
    """The demo's process, begun once all else is ready: loading it takes seconds of a processor."""
    keys = GatewaySettings.load().api_keys
    variables = {"VERMEIL_API_KEY": keys[0]} if keys else {}
    child = _child("demo", settings, home, VERMEIL_URL=gateway, **variables)
    return child.kept_running(_DEMO_GRACE_SECONDS)


async def _until_ready(
    home: Home, keeper: "asyncio.Task[None]", told_to_stop: asyncio.Event, generator: str
) -> None:
    while not (home.worker_ready.exists() or told_to_stop.is_set()):
        if keeper.done():
            keeper.result()
        await asyncio.sleep(0.02)
    while not (await _is_serving(generator) or told_to_stop.is_set()):
        await asyncio.sleep(0.02)


async def _is_serving(address: str) -> bool:
    async with connect_async(address) as channel:
        try:
            answer = await HealthStub(channel).Check(HealthCheckRequest(), timeout=1)
        except VermeilError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)
