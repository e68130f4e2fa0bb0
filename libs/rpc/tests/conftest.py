"""Services of the real contract whose answers each test writes itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil.encoder.v1.encoder_service_pb2_grpc import (
    EncoderServiceServicer,
    add_EncoderServiceServicer_to_server,
)
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest, GenerateResponse
from vermeil.generation.v1.generation_service_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)
from vermeil_rpc import Service

ENCODER = "vermeil.encoder.v1.EncoderService"
GENERATOR = "vermeil.generation.v1.GenerationService"

Encode = Callable[[EncodeRequest, Any], Awaitable[EncodeResponse]]
Generate = Callable[[GenerateRequest, Any], AsyncIterator[GenerateResponse]]
Result = TypeVar("Result")


class Encoder(EncoderServiceServicer):
    def __init__(self, answer: Encode) -> None:
        self._answer = answer

    async def StartEncoding(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise KeyError("not part of any test")

    async def Encode(self, request: EncodeRequest, context: Any) -> EncodeResponse:  # noqa: N802
        return await self._answer(request, context)


class Generator(GenerationServiceServicer):
    def __init__(self, answer: Generate) -> None:
        self._answer = answer

    async def LoadModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise KeyError("not part of any test")

    async def UnloadModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise KeyError("not part of any test")

    async def ListLoadedModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise KeyError("not part of any test")

    async def Generate(  # noqa: N802
        self, request: GenerateRequest, context: Any
    ) -> AsyncIterator[GenerateResponse]:
        async for each in self._answer(request, context):
            yield each


@pytest.fixture
def encoder() -> Callable[..., Service]:
    """encoder(answer, ready=…) makes a service whose Encode is `answer`; without, it answers emptily."""

    async def empty(_request: EncodeRequest, _context: Any) -> EncodeResponse:
        return EncodeResponse()

    def make(answer: Encode = empty, **hooks: Any) -> Service:
        return Service(ENCODER, add_EncoderServiceServicer_to_server, Encoder(answer), **hooks)

    return make


@pytest.fixture
def generator() -> Callable[..., Service]:
    """generator(answer) makes a service whose Generate streams `answer`."""

    def make(answer: Generate, **hooks: Any) -> Service:
        return Service(GENERATOR, add_GenerationServiceServicer_to_server, Generator(answer), **hooks)

    return make


@pytest.fixture
def on_loop() -> Callable[[Coroutine[Any, Any, Result]], Result]:
    """Runs a coroutine to its end, within two minutes."""

    def run(work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run(asyncio.wait_for(work, 120))

    return run
