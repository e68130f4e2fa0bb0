"""A registry with a text model of three versions, an adapter over it, a model of images, and two datasets."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

import re
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from vermeil.artifact.v1.artifact_pb2 import ArtifactRef
from vermeil.registry.v1 import registry_service_pb2 as registry
from vermeil.registry.v1.dataset_pb2 import Dataset, DatasetVersion
from vermeil.registry.v1.model_pb2 import Model, ModelVersion
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceServicer
from vermeil_errors import InvalidInput, NotFound

MODEL = "models/vermeil-nano"
VERSION = f"{MODEL}/versions/3"
IMAGE_MODEL = "models/vermeil-pictures"
IMAGE_VERSION = f"{IMAGE_MODEL}/versions/1"
ADAPTER = "models/vermeil-manner"
ADAPTER_VERSION = f"{ADAPTER}/versions/1"
DIGEST = "sha256:" + "5" * 64

_DATASET = re.compile(r"datasets/[a-z][a-z0-9-]{0,62}(/versions/[1-9][0-9]*)?")
_THEN = Timestamp(seconds=1_800_000_000)


class FakeRegistry(RegistryServiceServicer):
    """Answers what the gateway asks of the registry; `artifacts` are those of versions that have files."""

    def __init__(self) -> None:
        self.artifacts: dict[str, ArtifactRef] = {}

    async def ListModels(self, request: registry.ListModelsRequest, context: Any) -> Any:
        """One model on the first of two pages, two on the other."""
        if not request.page_token:
            return registry.ListModelsResponse(models=[_model()], next_page_token="2")  # noqa: S106 a page
        others = [_model(ADAPTER, ADAPTER_VERSION), _model(IMAGE_MODEL, IMAGE_VERSION)]
        return registry.ListModelsResponse(models=others)

    async def GetModel(self, request: registry.GetModelRequest, context: Any) -> Any:
        """One of them."""
        if request.name == ADAPTER:
            return registry.GetModelResponse(model=_model(ADAPTER, ADAPTER_VERSION))
        if request.name == IMAGE_MODEL:
            return registry.GetModelResponse(model=_model(IMAGE_MODEL, IMAGE_VERSION))
        if request.name != MODEL:
            raise NotFound("no such model", field="model", value=request.name)
        return registry.GetModelResponse(model=_model())

    async def GetModelVersion(self, request: registry.GetModelVersionRequest, context: Any) -> Any:
        """One of the three versions of the text model, or the one of another."""
        if request.name in (ADAPTER, ADAPTER_VERSION):
            return registry.GetModelVersionResponse(version=_adapter_version())
        if request.name in (IMAGE_MODEL, IMAGE_VERSION):
            return registry.GetModelVersionResponse(version=_image_version())
        line, _, version = request.name.partition("/versions/")
        if line != MODEL or int(version or "3") > 3:
            raise NotFound("no such model", field="model", value=request.name)
        found = _version(int(version or "3"))
        found.artifact.MergeFrom(self.artifacts.get(found.name, ArtifactRef()))
        return registry.GetModelVersionResponse(version=found)

    async def ListModelVersions(self, request: registry.ListModelVersionsRequest, context: Any) -> Any:
        """All three, newest first."""
        if request.model != MODEL:
            raise NotFound("no such model", field="model", value=request.model)
        return registry.ListModelVersionsResponse(versions=[_version(number) for number in (3, 2, 1)])

    async def ListDatasets(self, request: registry.ListDatasetsRequest, context: Any) -> Any:
        """Two datasets, one a page if asked so."""
        names = ["datasets/peps", "datasets/tinyshakespeare"]
        token = request.page_token or "0"
        if not (token.isascii() and token.isdecimal()):
            raise InvalidInput.for_field("page_token", token, "is not one of these pages", "send what came")
        start = int(token)
        end = start + (request.page_size or 100)
        found = [_dataset(name) for name in names[start:end]]
        return registry.ListDatasetsResponse(
            datasets=found, next_page_token=str(end) if end < len(names) else ""
        )

    async def GetDataset(self, request: registry.GetDatasetRequest, context: Any) -> Any:
        """A dataset of any name that is one."""
        _check_dataset(request.name)
        return registry.GetDatasetResponse(dataset=_dataset(request.name))

    async def GetDatasetVersion(self, request: registry.GetDatasetVersionRequest, context: Any) -> Any:
        """A version of it."""
        _check_dataset(request.name)
        found = _dataset_version(request.name)
        found.artifact.MergeFrom(self.artifacts.get(found.name, ArtifactRef()))
        return registry.GetDatasetVersionResponse(version=found)

    async def ListDatasetVersions(self, request: registry.ListDatasetVersionsRequest, context: Any) -> Any:
        """Its only version."""
        _check_dataset(request.dataset)
        version = _dataset_version(f"{request.dataset}/versions/1")
        return registry.ListDatasetVersionsResponse(versions=[version])


def _check_dataset(name: str) -> None:
    if not _DATASET.fullmatch(name):
        raise InvalidInput.for_field("name", name, "is not the name of a dataset")


def _model(name: str = MODEL, latest_version: str = VERSION) -> Model:
    return Model(
        name=name,
        description="a small one",
        owner="owners/default",
        latest_version=latest_version,
        create_time=_THEN,
    )


def _version(number: int) -> ModelVersion:
    return ModelVersion(
        name=f"{MODEL}/versions/{number}",
        artifact=ArtifactRef(digest=DIGEST, kind="model", num_bytes=2**33),
        job="jobs/1",
        create_time=_THEN,
    )


def _adapter_version() -> ModelVersion:
    version = _version(1)
    version.name = ADAPTER_VERSION
    version.base = VERSION
    return version


def _image_version() -> ModelVersion:
    version = _version(1)
    version.name = IMAGE_VERSION
    version.recipe = '{"name": "vermeil-pictures", "task": "image"}'
    return version


def _dataset(name: str) -> Dataset:
    return Dataset(name=name, owner="owners/default", latest_version=f"{name}/versions/1", create_time=_THEN)


def _dataset_version(name: str) -> DatasetVersion:
    version = DatasetVersion(
        name=name, artifact=ArtifactRef(digest=DIGEST, kind="dataset", num_bytes=1), create_time=_THEN
    )
    version.card.update({"licence": "CC0-1.0"})
    return version
