"""/v1/jobs/{job}/outputs: the files of what a job made, or has made so far."""

from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from vermeil.job.v1.job_service_pb2 import GetJobRequest

from vermeil_gateway.api.shared import WithClients
from vermeil_gateway.outputs import Outputs

router = APIRouter(tags=["Jobs"])

_ANY = "application/octet-stream"
_TYPES = {".png": "image/png", ".json": "application/json", ".jsonl": "application/x-ndjson"}
_HEADERS = {
    "cache-control": "private, no-cache",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}


async def outputs_of(request: Request) -> Outputs:  # FastAPI would run a plain function in a thread
    """What the app was made with."""
    outputs: Outputs = request.app.state.outputs
    return outputs


WithOutputs = Annotated[Outputs, Depends(outputs_of)]


@router.get("/v1/jobs/{job}/outputs/{role}")
async def list_output(job: str, role: str, clients: WithClients, outputs: WithOutputs) -> JSONResponse:
    """The files of an output, such as `log` or `model`; that of a running job is what is there so far."""
    found = (await clients.call(clients.jobs.GetJob, GetJobRequest(name=f"jobs/{job}"))).job
    manifest = await outputs.listing(found, role)
    files: list[dict[str, Any]] = [
        {"path": entry.path, "num_bytes": entry.num_bytes} for entry in manifest.files
    ]
    return JSONResponse({"digest": manifest.digest, "kind": manifest.kind, "files": files})


@router.get(
    "/v1/jobs/{job}/outputs/{role}/{path:path}",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in (_ANY, *_TYPES.values())}}},
)
async def get_output_file(
    job: str, role: str, path: str, clients: WithClients, outputs: WithOutputs
) -> StreamingResponse:
    """One file of an output."""
    found = (await clients.call(clients.jobs.GetJob, GetJobRequest(name=f"jobs/{job}"))).job
    num_bytes, chunks = await outputs.file(found, role, path)
    kind = _TYPES.get(PurePosixPath(path).suffix, _ANY)
    return StreamingResponse(chunks, media_type=kind, headers={**_HEADERS, "content-length": str(num_bytes)})
