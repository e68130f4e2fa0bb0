"""For those who run the gateway: alive, ready, metrics."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from vermeil_settings import code_version

from vermeil_gateway.api.shared import WithClients

router = APIRouter(tags=["Operation"])

NEEDED = ("registry", "generator")
"""Without these nobody gets an answer; the others may come and go."""


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """The process lives."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request, clients: WithClients) -> JSONResponse:
    """Requests can be answered: 200 if the registry and the generator serve, else 503."""
    services = await clients.health()
    draining = request.app.state.stopping.is_set()
    ready = not draining and all(services[name] == "SERVING" for name in NEEDED)
    status = "draining" if draining else "ready" if ready else "not ready"
    told = {"status": status, "services": services, "version": code_version()}
    return JSONResponse(told, status_code=200 if ready else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Figures for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
