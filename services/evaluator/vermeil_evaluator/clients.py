"""Calls to the registry; each has a deadline."""

from dataclasses import dataclass
from typing import Protocol

import grpc
from google.protobuf import json_format
from vermeil.registry.v1 import registry_service_pb2 as wire
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from vermeil_artifacts import ArtifactRef
from vermeil_jobs import GrpcJobs, JobClient
from vermeil_rpc import connect
from vermeil_rpc.convert import artifact_from_message

from vermeil_evaluator.settings import EvaluatorSettings

SECONDS = 10.0


@dataclass(frozen=True)
class Version:
    """A version of a dataset or model, and its files."""

    name: str
    """With its number: "datasets/x/versions/3"."""
    artifact: ArtifactRef
    datasets: tuple[str, ...] = ()
    """Of a model: names of the dataset versions it learned from."""
    splits: tuple[str, ...] = ()
    """Of a dataset: the splits its card names."""


class Names(Protocol):
    """What the evaluator asks the registry about; a name without a version means the newest."""

    def dataset_version(self, name: str) -> Version:
        """ "datasets/x" or "datasets/x/versions/3"."""
        ...

    def model_version(self, name: str) -> Version:
        """ "models/x" or "models/x/versions/3"."""
        ...


class RegistryNames:
    """Names over the wire."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = RegistryServiceStub(channel)

    def dataset_version(self, name: str) -> Version:
        """ "datasets/x" or "datasets/x/versions/3"."""
        request = wire.GetDatasetVersionRequest(name=name)
        found = self._stub.GetDatasetVersion(request, timeout=SECONDS).version
        card = json_format.MessageToDict(found.card)
        return Version(
            found.name, artifact_from_message(found.artifact), splits=tuple(card.get("splits", ()))
        )

    def model_version(self, name: str) -> Version:
        """ "models/x" or "models/x/versions/3"."""
        found = self._stub.GetModelVersion(wire.GetModelVersionRequest(name=name), timeout=SECONDS).version
        return Version(found.name, artifact_from_message(found.artifact), tuple(found.datasets))


@dataclass(frozen=True)
class Registry:
    """Both of the registry's services."""

    jobs: JobClient
    names: Names


def registry(settings: EvaluatorSettings) -> Registry:
    """The registry at its address; connects when first used."""
    channel = connect(settings.registry_address, token=settings.token)
    return Registry(GrpcJobs(channel, timeout=SECONDS), RegistryNames(channel))
