"""/v1/models in OpenAI's shape, and /v1/model-versions with all that the registry knows."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vermeil.registry.v1.model_pb2 import Model, ModelVersion
from vermeil.registry.v1.registry_service_pb2 import (
    GetModelRequest,
    GetModelVersionRequest,
    ListModelsRequest,
    ListModelVersionsRequest,
    ListModelVersionsResponse,
)

from vermeil_gateway.api.shared import PageSize, PageToken, WithClients, documented, shown
from vermeil_gateway.clients import Clients
from vermeil_gateway.modalities import Modalities, Traits, traits_of
from vermeil_gateway.names import resource_name, short_name, version_number

router = APIRouter(tags=["Models"])

Json = dict[str, Any]


@router.get("/v1/models")
async def list_models(request: Request, clients: WithClients) -> JSONResponse:
    """All models, with the number of their newest version, what they take and what they answer with.

    `parent` is the model that an adapter changes.
    """
    found = [model async for model in _all_models(clients)]
    modalities: Modalities = request.app.state.modalities
    kinds = await modalities.of_versions([model.latest_version for model in found])
    data = [
        _openai(model, short_name(model.name)) | _told(kind) for model, kind in zip(found, kinds, strict=True)
    ]
    return JSONResponse({"object": "list", "data": data})


@router.get("/v1/model-versions/{model}", **documented(ListModelVersionsResponse))
async def list_model_versions(
    model: str, clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """Versions of a model, newest first, with recipe, data and figures."""
    request = ListModelVersionsRequest(model=resource_name(model), page_size=page_size, page_token=page_token)
    return shown(await clients.call(clients.registry.ListModelVersions, request))


@router.get("/v1/model-versions/{model}/{version}", **documented(ModelVersion))
async def get_model_version(model: str, version: int, clients: WithClients) -> JSONResponse:
    """One version of a model."""
    request = GetModelVersionRequest(name=f"{resource_name(model)}/versions/{version}")
    return shown((await clients.call(clients.registry.GetModelVersion, request)).version)


@router.get("/v1/models/{model:path}")
async def get_model(model: str, clients: WithClients) -> JSONResponse:
    """One model, such as `vermeil-nano`, or one version of it, such as `vermeil-nano@3`."""
    name = resource_name(model)
    line, _, _ = name.partition("/versions/")
    found, version = await asyncio.gather(
        clients.call(clients.registry.GetModel, GetModelRequest(name=line)),
        clients.call(clients.registry.GetModelVersion, GetModelVersionRequest(name=name)),
    )
    body = _openai(found.model, short_name(name))
    return JSONResponse(body | _of_version(version.version) | _told(traits_of(version.version)))


async def _all_models(clients: Clients) -> AsyncGenerator[Model, None]:
    token = ""
    while True:
        request = ListModelsRequest(page_size=1000, page_token=token)
        page = await clients.call(clients.registry.ListModels, request)
        for model in page.models:
            yield model
        token = page.next_page_token
        if not token:
            return


def _openai(model: Model, id_: str) -> Json:
    return {
        "id": id_,
        "object": "model",
        "created": model.create_time.seconds,
        "owned_by": model.owner.removeprefix("owners/") or "vermeil",
        "name": model.name,
        "description": model.description,
        "version": version_number(model.latest_version),
    }


def _told(traits: Traits) -> Json:
    return {
        "input_modalities": list(traits.takes),
        "output_modalities": list(traits.gives),
        "parent": short_name(traits.base) if traits.base else None,
    }


def _of_version(version: ModelVersion) -> Json:
    return {
        "created": version.create_time.seconds,
        "name": version.name,
        "version": version_number(version.name),
        "digest": version.artifact.digest,
        "num_bytes": version.artifact.num_bytes,
    }
