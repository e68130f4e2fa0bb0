"""Calls to the registry and the text encoder; each has a deadline."""

from dataclasses import dataclass
from typing import Protocol

import grpc
from vermeil.encoder.v1 import encoder_pb2
from vermeil.encoder.v1.encoder_service_pb2 import StartEncodingRequest
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from vermeil.registry.v1 import registry_service_pb2 as wire
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from vermeil_artifacts import ArtifactRef
from vermeil_jobs import GrpcJobs, JobClient
from vermeil_rpc import connect
from vermeil_rpc.convert import artifact_from_message

from vermeil_trainer.settings import TrainerSettings

SECONDS = 10.0


@dataclass(frozen=True)
class Version:
    """A version of a dataset or model, and its files."""

    name: str
    """With its number: "datasets/x/versions/3"."""
    artifact: ArtifactRef


class Names(Protocol):
    """What the trainer asks the registry about; a name without a version means the newest."""

    def dataset_version(self, name: str) -> Version:
        """ "datasets/x" or "datasets/x/versions/3"."""
        ...

    def model_version(self, name: str) -> Version:
        """ "models/x" or "models/x/versions/3"."""
        ...


class Encoder(Protocol):
    """What the trainer asks of the text encoder."""

    def start(self, spec: encoder_pb2.EncodingSpec) -> str:
        """Name of the job that encodes this, or has done so already."""
        ...


class RegistryNames:
    """Names over the wire."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = RegistryServiceStub(channel)

    def dataset_version(self, name: str) -> Version:
        """ "datasets/x" or "datasets/x/versions/3"."""
        answer = self._stub.GetDatasetVersion(wire.GetDatasetVersionRequest(name=name), timeout=SECONDS)
        return Version(answer.version.name, artifact_from_message(answer.version.artifact))

    def model_version(self, name: str) -> Version:
        """ "models/x" or "models/x/versions/3"."""
        answer = self._stub.GetModelVersion(wire.GetModelVersionRequest(name=name), timeout=SECONDS)
        return Version(answer.version.name, artifact_from_message(answer.version.artifact))


class TextEncoder:
    """The text encoder over the wire."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = EncoderServiceStub(channel)

    def start(self, spec: encoder_pb2.EncodingSpec) -> str:
        """Without a request id, so that the same work is done once."""
        return self._stub.StartEncoding(StartEncodingRequest(spec=spec), timeout=SECONDS).job.name


@dataclass(frozen=True)
class Peers:
    """The services that the trainer works with."""

    jobs: JobClient
    names: Names
    encoder: Encoder


def peers(settings: TrainerSettings) -> Peers:
    """The services at their addresses; connects when first used."""
    registry = connect(settings.registry_address, token=settings.token)
    encoder = connect(settings.encoder_text_address, token=settings.token)
    return Peers(GrpcJobs(registry, timeout=SECONDS), RegistryNames(registry), TextEncoder(encoder))
