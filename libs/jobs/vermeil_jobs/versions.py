"""What the names of datasets and models stand for: asked once, when a job is made.

Knows neither cards nor catalogues beyond what jobs need; the registry has the rest.
"""

from dataclasses import dataclass
from typing import Protocol

import grpc
from google.protobuf import json_format
from vermeil.registry.v1 import registry_service_pb2 as wire
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from vermeil_artifacts import ArtifactRef
from vermeil_errors import NotFound
from vermeil_rpc.convert import artifact_from_message

from vermeil_jobs.job import NewModelVersion
from vermeil_jobs.memory import MemoryJobs
from vermeil_jobs.names import split_version, version_name


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
    recipe: str = ""
    """Of a model: the recipe as it was run, as JSON; empty if imported."""
    base: str = ""
    """Of an adapter: the version it is loaded over."""


class Names(Protocol):
    """Knows what names stand for; one without a version means the newest. Unknown ones are NotFound."""

    def dataset_version(self, name: str) -> Version:
        """ "datasets/x" or "datasets/x/versions/3"."""
        ...

    def model_version(self, name: str) -> Version:
        """ "models/x" or "models/x/versions/3"."""
        ...


class RegistryNames:
    """Asks the registry; every call has a deadline of `timeout` seconds."""

    def __init__(self, channel: grpc.Channel, timeout: float) -> None:
        self._stub = RegistryServiceStub(channel)
        self._timeout = timeout

    def dataset_version(self, name: str) -> Version:
        """By RegistryService.GetDatasetVersion."""
        request = wire.GetDatasetVersionRequest(name=name)
        found = self._stub.GetDatasetVersion(request, timeout=self._timeout).version
        card = json_format.MessageToDict(found.card)
        return Version(
            found.name, artifact_from_message(found.artifact), splits=tuple(sorted(card.get("splits", ())))
        )

    def model_version(self, name: str) -> Version:
        """By RegistryService.GetModelVersion."""
        request = wire.GetModelVersionRequest(name=name)
        found = self._stub.GetModelVersion(request, timeout=self._timeout).version
        artifact = artifact_from_message(found.artifact)
        datasets = tuple(found.datasets)
        return Version(found.name, artifact, datasets=datasets, recipe=found.recipe, base=found.base)


class MemoryNames:
    """The fake: names that jobs in memory have registered when they finished."""

    def __init__(self, jobs: MemoryJobs) -> None:
        self._jobs = jobs

    def dataset_version(self, name: str) -> Version:
        """Of the rows."""
        return self._find("datasets", name)

    def model_version(self, name: str) -> Version:
        """Of the rows."""
        return self._find("models", name)

    def _find(self, collection: str, name: str) -> Version:
        line, number = split_version(collection, name, "name")
        versions = self._jobs.rows.versions
        if number is None:
            number = sum(each.startswith(f"{line}/versions/") for each in versions)
        full_name = version_name(line, number)
        if full_name not in versions:
            raise NotFound(f"{name} does not exist")
        found, _ = versions[full_name]
        if isinstance(found, NewModelVersion):
            return Version(
                full_name, found.artifact, datasets=found.datasets, recipe=found.recipe, base=found.base
            )
        splits = found.card.get("splits", {})
        return Version(
            full_name, found.artifact, splits=tuple(sorted(splits)) if isinstance(splits, dict) else ()
        )
