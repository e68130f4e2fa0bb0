"""The files of what jobs made, of model versions and of dataset versions: listed, and read one by one."""

from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from vermeil.job.v1.job_service_pb2 import GetJobRequest
from vermeil.registry.v1.registry_service_pb2 import GetDatasetVersionRequest, GetModelVersionRequest

from vermeil_gateway.api.shared import WithClients
from vermeil_gateway.files import LINK_SECONDS, Files, output_digest
from vermeil_gateway.names import resource_name

router = APIRouter()

_ANY = "application/octet-stream"
_TYPES = {".png": "image/png", ".json": "application/json", ".jsonl": "application/x-ndjson"}
_HEADERS = {
    "cache-control": "private, no-cache",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}
_A_FILE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"content": {kind: {} for kind in (_ANY, *_TYPES.values())}},
        307: {
            "description": f"It is at the address `location` for {LINK_SECONDS} seconds; send it no key.",
            "headers": {"location": {"schema": {"type": "string", "format": "uri"}, "required": True}},
        },
    },
}


async def files_of(request: Request) -> Files:  # FastAPI would run a plain function in a thread
    """What the app was made with."""
    files: Files = request.app.state.files
    return files


async def digest_of_output(job: str, role: str, clients: WithClients) -> str:
    """The artifact that a job made, or has made so far."""
    found = await clients.call(clients.jobs.GetJob, GetJobRequest(name=f"jobs/{job}"))
    return output_digest(found.job, role)


async def digest_of_model(model: str, version: int, clients: WithClients) -> str:
    """The artifact of a version of a model."""
    request = GetModelVersionRequest(name=f"{resource_name(model)}/versions/{version}")
    found = await clients.call(clients.registry.GetModelVersion, request)
    return found.version.artifact.digest


async def digest_of_dataset(dataset: str, version: int, clients: WithClients) -> str:
    """The artifact of a version of a dataset."""
    request = GetDatasetVersionRequest(name=f"datasets/{dataset}/versions/{version}")
    found = await clients.call(clients.registry.GetDatasetVersion, request)
    return found.version.artifact.digest


WithFiles = Annotated[Files, Depends(files_of)]
OfOutput = Annotated[str, Depends(digest_of_output)]
OfModel = Annotated[str, Depends(digest_of_model)]
OfDataset = Annotated[str, Depends(digest_of_dataset)]


@router.get("/v1/jobs/{job}/outputs/{role}", tags=["Jobs"])
async def list_output(digest: OfOutput, files: WithFiles) -> JSONResponse:
    """The files of an output, such as `log` or `model`; that of a running job is what is there so far."""
    return await _listed(files, digest)


@router.get("/v1/jobs/{job}/outputs/{role}/{path:path}", tags=["Jobs"], **_A_FILE)
async def get_output_file(digest: OfOutput, path: str, files: WithFiles) -> Response:
    """One file of an output."""
    return await _sent(files, digest, path)


@router.get("/v1/model-versions/{model}/{version}/files", tags=["Models"])
async def list_model_files(digest: OfModel, files: WithFiles) -> JSONResponse:
    """The files of a version of a model: weights, config, tokenizer, card."""
    return await _listed(files, digest)


@router.get("/v1/model-versions/{model}/{version}/files/{path:path}", tags=["Models"], **_A_FILE)
async def get_model_file(digest: OfModel, path: str, files: WithFiles) -> Response:
    """One file of a version of a model, such as `model.safetensors`."""
    return await _sent(files, digest, path)


@router.get("/v1/datasets/{dataset}/versions/{version}/files", tags=["Datasets"])
async def list_dataset_files(digest: OfDataset, files: WithFiles) -> JSONResponse:
    """The files of a version of a dataset: shards and indexes."""
    return await _listed(files, digest)


@router.get("/v1/datasets/{dataset}/versions/{version}/files/{path:path}", tags=["Datasets"], **_A_FILE)
async def get_dataset_file(digest: OfDataset, path: str, files: WithFiles) -> Response:
    """One file of a version of a dataset."""
    return await _sent(files, digest, path)


async def _listed(files: Files, digest: str) -> JSONResponse:
    manifest = await files.listing(digest)
    listed: list[dict[str, Any]] = [
        {"path": entry.path, "num_bytes": entry.num_bytes, "sha256": entry.sha256} for entry in manifest.files
    ]
    return JSONResponse({"digest": manifest.digest, "kind": manifest.kind, "files": listed})


async def _sent(files: Files, digest: str, path: str) -> Response:
    if link := await files.link(digest, path):
        return RedirectResponse(link, headers={"cache-control": "no-store"})
    num_bytes, chunks = await files.file(digest, path)
    kind = _TYPES.get(PurePosixPath(path).suffix, _ANY)
    return StreamingResponse(chunks, media_type=kind, headers={**_HEADERS, "content-length": str(num_bytes)})
