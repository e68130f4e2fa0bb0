"""RegistryService: message in, catalogue call, message out."""

# ruff: noqa: N802, ARG002

from typing import Any, cast

import grpc
from google.protobuf import field_mask_pb2
from vermeil.registry.v1 import artifact_pb2, dataset_pb2, model_pb2
from vermeil.registry.v1 import registry_service_pb2 as wire
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceServicer
from vermeil_errors import InvalidInput
from vermeil_jobs import messages
from vermeil_jobs.client import DEFAULT_PAGE_SIZE
from vermeil_jobs.names import check_line
from vermeil_rpc.convert import artifact_from_message, artifact_to_message

from vermeil_registry.catalogue import Catalogue, Entry, Registered, Version
from vermeil_registry.threads import Threads

Context = grpc.aio.ServicerContext[Any, Any]


class RegistryServicer(RegistryServiceServicer):
    """Answers for vermeil.registry.v1.RegistryService."""

    def __init__(self, catalogue: Catalogue, threads: Threads) -> None:
        self._catalogue = catalogue
        self._run = threads.run

    async def RegisterArtifact(
        self, request: wire.RegisterArtifactRequest, context: Context
    ) -> wire.RegisterArtifactResponse:
        """Record files."""
        ref = artifact_from_message(request.artifact.ref, "artifact.ref")
        row = await self._run(self._catalogue.register_artifact, ref, request.artifact.job)
        return wire.RegisterArtifactResponse(artifact=_artifact(row))

    async def GetArtifact(
        self, request: wire.GetArtifactRequest, context: Context
    ) -> wire.GetArtifactResponse:
        """One artifact."""
        row = await self._run(self._catalogue.get_artifact, request.name)
        return wire.GetArtifactResponse(artifact=_artifact(row))

    async def ListArtifacts(
        self, request: wire.ListArtifactsRequest, context: Context
    ) -> wire.ListArtifactsResponse:
        """A page of artifacts."""
        rows, token = await self._run(
            self._catalogue.list_artifacts, _page_size(request), request.page_token, request.kind
        )
        return wire.ListArtifactsResponse(artifacts=map(_artifact, rows), next_page_token=token)

    async def CreateDatasetVersion(
        self, request: wire.CreateDatasetVersionRequest, context: Context
    ) -> wire.CreateDatasetVersionResponse:
        """Add a version of a dataset."""
        check_line("datasets", request.dataset, "dataset")
        new = messages.dataset_version_from_message(request.dataset, request.version)
        version = await self._run(
            self._catalogue.create_version, new, request_id=request.request_id, job=request.version.job
        )
        return wire.CreateDatasetVersionResponse(version=_dataset_version(version))

    async def GetDataset(self, request: wire.GetDatasetRequest, context: Context) -> wire.GetDatasetResponse:
        """One dataset."""
        entry = await self._run(self._catalogue.get_entry, "datasets", request.name)
        return wire.GetDatasetResponse(dataset=_dataset(entry))

    async def ListDatasets(
        self, request: wire.ListDatasetsRequest, context: Context
    ) -> wire.ListDatasetsResponse:
        """A page of datasets."""
        entries, token = await self._run(
            self._catalogue.list_entries, "datasets", _page_size(request), request.page_token
        )
        return wire.ListDatasetsResponse(datasets=map(_dataset, entries), next_page_token=token)

    async def UpdateDataset(
        self, request: wire.UpdateDatasetRequest, context: Context
    ) -> wire.UpdateDatasetResponse:
        """Change a dataset."""
        _check_mask(request.update_mask)
        given = request.dataset
        entry = await self._run(self._catalogue.describe_entry, "datasets", given.name, given.description)
        return wire.UpdateDatasetResponse(dataset=_dataset(entry))

    async def GetDatasetVersion(
        self, request: wire.GetDatasetVersionRequest, context: Context
    ) -> wire.GetDatasetVersionResponse:
        """One version of a dataset."""
        version = await self._run(self._catalogue.get_version, "datasets", request.name)
        return wire.GetDatasetVersionResponse(version=_dataset_version(version))

    async def ListDatasetVersions(
        self, request: wire.ListDatasetVersionsRequest, context: Context
    ) -> wire.ListDatasetVersionsResponse:
        """A page of versions of a dataset."""
        versions, token = await self._run(
            self._catalogue.list_versions,
            "datasets",
            request.dataset,
            _page_size(request),
            request.page_token,
        )
        return wire.ListDatasetVersionsResponse(
            versions=map(_dataset_version, versions), next_page_token=token
        )

    async def CreateModelVersion(
        self, request: wire.CreateModelVersionRequest, context: Context
    ) -> wire.CreateModelVersionResponse:
        """Add a version of a model."""
        check_line("models", request.model, "model")
        new = messages.model_version_from_message(request.model, request.version)
        version = await self._run(
            self._catalogue.create_version, new, request_id=request.request_id, job=request.version.job
        )
        return wire.CreateModelVersionResponse(version=_model_version(version))

    async def GetModel(self, request: wire.GetModelRequest, context: Context) -> wire.GetModelResponse:
        """One model."""
        entry = await self._run(self._catalogue.get_entry, "models", request.name)
        return wire.GetModelResponse(model=_model(entry))

    async def ListModels(self, request: wire.ListModelsRequest, context: Context) -> wire.ListModelsResponse:
        """A page of models."""
        entries, token = await self._run(
            self._catalogue.list_entries, "models", _page_size(request), request.page_token
        )
        return wire.ListModelsResponse(models=map(_model, entries), next_page_token=token)

    async def UpdateModel(
        self, request: wire.UpdateModelRequest, context: Context
    ) -> wire.UpdateModelResponse:
        """Change a model."""
        _check_mask(request.update_mask)
        given = request.model
        entry = await self._run(self._catalogue.describe_entry, "models", given.name, given.description)
        return wire.UpdateModelResponse(model=_model(entry))

    async def GetModelVersion(
        self, request: wire.GetModelVersionRequest, context: Context
    ) -> wire.GetModelVersionResponse:
        """One version of a model."""
        version = await self._run(self._catalogue.get_version, "models", request.name)
        return wire.GetModelVersionResponse(version=_model_version(version))

    async def ListModelVersions(
        self, request: wire.ListModelVersionsRequest, context: Context
    ) -> wire.ListModelVersionsResponse:
        """A page of versions of a model."""
        versions, token = await self._run(
            self._catalogue.list_versions, "models", request.model, _page_size(request), request.page_token
        )
        return wire.ListModelVersionsResponse(versions=map(_model_version, versions), next_page_token=token)


def _page_size(request: Any) -> int:
    return cast("int", request.page_size) or DEFAULT_PAGE_SIZE


def _check_mask(mask: field_mask_pb2.FieldMask) -> None:
    if list(mask.paths) != ["description"]:
        raise InvalidInput.for_field(
            "update_mask", list(mask.paths), "names what cannot be changed", 'only "description" can be'
        )


def _artifact(row: Registered) -> artifact_pb2.Artifact:
    return artifact_pb2.Artifact(
        name=f"artifacts/{row.ref.digest}",
        ref=artifact_to_message(row.ref),
        job=row.job,
        create_time=messages.time_to_message(row.create_time),
    )


def _dataset(entry: Entry) -> dataset_pb2.Dataset:
    return dataset_pb2.Dataset(**_entry_fields(entry))


def _model(entry: Entry) -> model_pb2.Model:
    return model_pb2.Model(**_entry_fields(entry))


def _entry_fields(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "description": entry.description,
        "owner": entry.owner,
        "latest_version": entry.latest_version,
        "create_time": messages.time_to_message(entry.create_time),
    }


def _dataset_version(version: Version) -> dataset_pb2.DatasetVersion:
    details: Any = version.details
    return dataset_pb2.DatasetVersion(card=messages.struct_to_message(details["card"]), **_common(version))


def _model_version(version: Version) -> model_pb2.ModelVersion:
    details: Any = dict(version.details)
    metrics = messages.struct_to_message(details.pop("metrics"))
    return model_pb2.ModelVersion(metrics=metrics, **details, **_common(version))


def _common(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "artifact": artifact_to_message(version.artifact),
        "job": version.job,
        "create_time": messages.time_to_message(version.create_time),
    }
