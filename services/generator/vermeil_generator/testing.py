"""For tests: a generator on a free port that answers with tiny models of random weights."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vermeil.generation.v1.generation_service_pb2 import (
    GenerateImagesRequest,
    GenerateImagesResponse,
    GenerateRequest,
    GenerateResponse,
    ListLoadedModelsRequest,
)
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil_artifacts import ArtifactRef, LocalStore
from vermeil_rpc import RunningServer, connect_async, serve
from vermeil_rpc.testing import local_settings

from vermeil_generator.fakes import (
    FakeNames,
    publish_tiny_fused_model,
    publish_tiny_image_model,
    publish_tiny_model,
)
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.wiring import build

MODEL = "models/tiny"
VERSION = "models/tiny/versions/1"
IMAGE_MODEL = "models/pictures"
IMAGE_VERSION = "models/pictures/versions/1"
FUSED_MODEL = "models/fused"
FUSED_VERSION = "models/fused/versions/1"
CONTEXT = 1024
"""Longest sequence of the tiny model, in tokens."""
SECONDS = 120
"""Longest wait for an answer, on a machine that may stand still for a while."""


@dataclass
class House:
    """Published tiny models and where the files of the one that writes are."""

    store: LocalStore
    ref: ArtifactRef
    folder: Path
    image_ref: ArtifactRef | None = None
    """The model that draws."""
    fused_ref: ArtifactRef | None = None
    """The model that does both."""

    @classmethod
    def built_in(cls, folder: Path) -> "House":
        """Tiny models published below `folder`."""
        store = LocalStore(folder / "artifacts")
        ref = publish_tiny_model(store, folder / "tiny", context_length=CONTEXT)
        image_ref = publish_tiny_image_model(store, folder / "pictures")
        fused_ref = publish_tiny_fused_model(store, folder / "fused")
        return cls(store, ref, folder / "tiny", image_ref, fused_ref)


@dataclass
class Running:
    """A server with a stub to it."""

    server: RunningServer
    stub: Any
    channel: Any

    async def ask(self, **fields: Any) -> list[GenerateResponse]:
        """All pieces of an answer."""
        request = GenerateRequest(**{"model": MODEL, **fields})
        return [piece async for piece in self.stub.Generate(request, timeout=SECONDS)]

    async def draw(self, **fields: Any) -> list[GenerateImagesResponse]:
        """All that is told while pictures are drawn, and the pictures."""
        request = GenerateImagesRequest(**{"model": IMAGE_MODEL, **fields})
        return [message async for message in self.stub.GenerateImages(request, timeout=SECONDS)]

    async def num_active(self) -> int:
        """Requests under way."""
        answer = await self.stub.ListLoadedModels(ListLoadedModelsRequest(), timeout=SECONDS)
        return sum(model.num_active for model in answer.models)

    async def is_idle(self) -> bool:
        """Whether no request is under way."""
        return await self.num_active() == 0


@asynccontextmanager
async def running(
    house: House, *, adapters: Mapping[str, tuple[ArtifactRef, str]] | None = None, **changes: Any
) -> AsyncIterator[Running]:
    """A server while the block lasts; `changes` are to its settings.

    `adapters` are more versions, each with its base.
    """
    names = FakeNames()
    names.add(VERSION, house.ref)
    if house.image_ref is not None:
        names.add(IMAGE_VERSION, house.image_ref)
    if house.fused_ref is not None:
        names.add(FUSED_VERSION, house.fused_ref)
    for name, (ref, base) in (adapters or {}).items():
        names.add(name, ref, base)
    settings = GeneratorSettings.model_construct(**changes)
    services = build(settings, names=names, store=house.store)
    server = await serve(services, "127.0.0.1:0", local_settings(), probe_every=0.02)
    channel = connect_async(server.address)
    try:
        yield Running(server, GenerationServiceStub(channel), channel)
    finally:
        await channel.close(None)
        await server.drain(0.1)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a test's coroutine, but not for ever."""
    return asyncio.run(asyncio.wait_for(work, 3 * SECONDS))


async def until(holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait until something holds, as long as `run` lets it."""
    while not await holds():
        await asyncio.sleep(0.005)


def text_of(pieces: list[GenerateResponse], choice: int = 0) -> str:
    """All that one choice said."""
    return "".join(piece.delta.text for piece in pieces if piece.choice == choice)
