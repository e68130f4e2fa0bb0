"""Calls to other services, each with a deadline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import grpc
from vermeil.registry.v1.registry_service_pb2 import GetModelVersionRequest
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from vermeil_artifacts import ArtifactRef
from vermeil_rpc import connect_async
from vermeil_rpc.convert import artifact_from_message
from vermeil_settings import CommonSettings

if TYPE_CHECKING:
    from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub

SECONDS = 10.0


@dataclass(frozen=True)
class ModelSource:
    """Which version a name stands for now, and where its files are."""

    name: str
    """"models/{model}/versions/{version}"."""
    artifact: ArtifactRef
    base: str = ""
    """Of an adapter: the version it is loaded over."""


class Names(Protocol):
    """Knows what the names of models stand for."""

    async def find(self, name: str) -> ModelSource:
        """The version behind "models/{model}" (the newest) or "models/{model}/versions/{version}"."""

    async def close(self) -> None:
        """Let go of connections."""


class RegistryNames:
    """Asks the registry; connects when first used, in the event loop that uses it."""

    def __init__(self, settings: CommonSettings) -> None:
        self._settings = settings
        self._channel: grpc.aio.Channel | None = None

    async def find(self, name: str) -> ModelSource:
        """The version behind a name, by RegistryService.GetModelVersion."""
        if self._channel is None:
            settings = self._settings
            self._channel = connect_async(settings.registry_address, token=settings.token, tls=settings.tls)
        registry: RegistryServiceAsyncStub = RegistryServiceStub(self._channel)
        answer = await registry.GetModelVersion(GetModelVersionRequest(name=name), timeout=SECONDS)
        version = answer.version
        return ModelSource(version.name, artifact_from_message(version.artifact), version.base)

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close(None)
