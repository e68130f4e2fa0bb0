"""For tests: a gateway on a free port with fakes behind it, both alive in one thread."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import httpx
from vermeil_rpc import Service, serve
from vermeil_rpc.testing import local_settings

from vermeil_gateway.fakes import FakeBackends
from vermeil_gateway.settings import GatewaySettings
from vermeil_gateway.wiring import RunningGateway, start


@dataclass
class Running:
    """A gateway and what stands behind it."""

    url: str
    backends: FakeBackends
    http: httpx.Client
    loop: asyncio.AbstractEventLoop
    gateway: RunningGateway
    services_address: str

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the gateway's own event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def settle(self) -> None:
        """Wait until nothing is under way any more, also of those whose clients have left."""
        assert self.run(self.gateway._app.state.admission.emptied(60))

    def chat(self, **fields: Any) -> httpx.Response:
        """A chat request with defaults."""
        body = {"model": "vermeil-nano", "messages": [{"role": "user", "content": "Hi"}], **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def complete(self, **fields: Any) -> httpx.Response:
        """A completion request with defaults."""
        return self.http.post("/v1/completions", json={"model": "vermeil-nano", "prompt": "Once", **fields})


def settings_for(address: str, **changes: Any) -> GatewaySettings:
    """Settings that ignore the environment, with every service at one address."""
    encoders = ("encoder_text", "encoder_image")
    services = ("registry", "ingest", *encoders, "trainer", "evaluator", "generator")
    addresses = {f"{service}_address": address for service in services}
    values = {"http_bind": "127.0.0.1:0", "gateway_drain_timeout": 1.0, **addresses, **changes}
    return GatewaySettings.model_construct(**values)


@contextmanager
def running_gateway(
    services: Callable[[FakeBackends], Sequence[Service]] = FakeBackends.services, **changes: Any
) -> Iterator[Running]:
    """A gateway in a thread.

    Args:
        services: What stands behind it; called in its event loop.
        changes: To its settings.
    """
    backends = FakeBackends()
    ready: Future[tuple[asyncio.AbstractEventLoop, RunningGateway, str]] = Future()
    stop = threading.Event()

    async def live() -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            server = await serve(services(backends), "127.0.0.1:0", local_settings())
            stack.push_async_callback(server.drain)
            gateway = await start(settings_for(server.address, **changes), store=backends.store)
            stack.push_async_callback(gateway.stop)
            ready.set_result((loop, gateway, server.address))
            await asyncio.to_thread(stop.wait)

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="gateway-under-test")
    thread.start()
    try:
        loop, gateway, address = ready.result(60)
        with httpx.Client(base_url=gateway.url, timeout=60) as http:
            yield Running(gateway.url, backends, http, loop, gateway, address)
    finally:
        stop.set()
        thread.join(60)


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    end = monotonic() + seconds
    while not holds():
        assert monotonic() < end, "it never came true"
        sleep(0.005)


def events_of(text: str) -> list[Any]:
    """The data of each server-sent event; `[DONE]` as it is."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]
