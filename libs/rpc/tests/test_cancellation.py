"""A client that goes away stops the work, whatever the handler is doing: nothing else would end it here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from time import monotonic, sleep
from typing import Any

import pytest
from prometheus_client import REGISTRY
from vermeil.content.v1.content_pb2 import Part
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest, GenerateResponse
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil_errors import Cancelled
from vermeil_rpc import Service, connect, connect_async
from vermeil_rpc.testing import local_settings, running

Make = Callable[..., Service]
OnLoop = Callable[[Coroutine[Any, Any, None]], None]
FOREVER = 3600
"""Seconds."""


class Watched:
    """A stream that notes when and how it ended."""

    def __init__(self, pause: float, text: str = "") -> None:
        self._pause = pause
        self._text = text
        self.ended = asyncio.Event()
        self.by: BaseException | None = None

    async def __call__(self, _request: GenerateRequest, _context: Any) -> AsyncIterator[GenerateResponse]:
        try:
            while True:
                yield GenerateResponse(delta=Part(text=self._text))
                await asyncio.sleep(self._pause)
        except BaseException as error:
            self.by = error
            raise
        finally:
            self.ended.set()


def test_cancelling_a_stream_reaches_a_handler_that_waits(generator: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        watched = Watched(pause=FOREVER)
        async with running([generator(watched)]) as server, connect_async(server.address) as channel:
            call = GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=FOREVER)
            async for _ in call:
                break
            call.cancel()
            await watched.ended.wait()
        assert isinstance(watched.by, asyncio.CancelledError)

    on_loop(scenario())


def test_cancelling_reaches_a_handler_blocked_by_a_slow_reader(generator: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        watched = Watched(pause=0, text="x" * 100_000)
        async with running([generator(watched)]) as server, connect_async(server.address) as channel:
            call = GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=FOREVER)
            async for _ in call:
                break
            await asyncio.sleep(0.3)  # it will be blocked
            call.cancel()
            await watched.ended.wait()

    on_loop(scenario())


def test_who_leaves_while_an_answer_is_written_is_no_error_of_the_server(
    generator: Make, on_loop: OnLoop
) -> None:
    method = "/vermeil.generation.v1.GenerationService/Generate"

    def ended(code: str) -> float:
        labels = {"method": method, "code": code}
        return REGISTRY.get_sample_value("vermeil_rpc_server_seconds_count", labels) or 0.0

    async def scenario() -> None:
        cancelled, failed = ended("CANCELLED"), ended("INTERNAL")
        service = generator(Watched(pause=0, text="x" * 100_000))
        async with running([service]) as server, connect_async(server.address) as channel:
            for number in range(1, 13):  # gRPC says either that the caller left or that it could not write
                call = GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=FOREVER)
                async for _ in call:
                    break
                await asyncio.sleep(0.1)
                call.cancel()
                while ended("CANCELLED") - cancelled + ended("INTERNAL") - failed < number:
                    await asyncio.sleep(0.01)
        assert ended("INTERNAL") == failed

    on_loop(scenario())


def test_closing_the_channel_counts_as_going_away(generator: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        watched = Watched(pause=FOREVER)
        async with running([generator(watched)]) as server:
            async with connect_async(server.address) as channel:
                async for _ in GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=FOREVER):
                    break
            await watched.ended.wait()

    on_loop(scenario())


def test_cancelling_an_awaiting_task_reaches_a_unary_handler(encoder: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        entered, ended = asyncio.Event(), asyncio.Event()

        async def wait(_request: EncodeRequest, _context: Any) -> EncodeResponse:
            entered.set()
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                ended.set()
                raise
            return EncodeResponse()

        async def ask(channel: Any) -> None:
            await EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=FOREVER)

        async with running([encoder(wait)]) as server, connect_async(server.address) as channel:
            task = asyncio.create_task(ask(channel))
            await entered.wait()
            task.cancel()
            await ended.wait()
            with pytest.raises(asyncio.CancelledError):
                await task

    on_loop(scenario())


def test_a_synchronous_client_can_cancel_a_stream(generator: Make) -> None:
    made: list[Watched] = []

    def build() -> list[Service]:
        made.append(Watched(pause=FOREVER))
        return [generator(made[0])]

    with running(build) as server, connect(server.address) as channel:
        call: Any = GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=FOREVER)
        next(call)
        call.cancel()
        with pytest.raises(Cancelled):
            next(call)
        end = monotonic() + 60
        while not made[0].ended.is_set():
            assert monotonic() < end
            sleep(0.005)
    assert isinstance(made[0].by, asyncio.CancelledError)


def test_a_cancelled_call_frees_its_slot(generator: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        watched = Watched(pause=FOREVER)
        settings = local_settings(rpc_max_concurrent=1)
        async with (
            running([generator(watched)], settings=settings) as server,
            connect_async(server.address) as channel,
        ):
            stub = GenerationServiceStub(channel)
            for _ in range(3):
                watched.ended.clear()
                call = stub.Generate(GenerateRequest(), timeout=FOREVER)
                async for _ in call:
                    break
                call.cancel()
                await watched.ended.wait()

    on_loop(scenario())
