"""Health that is real: each service's readiness is asked again and again, and told on change.

Speaks grpc.health.v1, so any load balancer and `grpc_health_probe` understand it. Answers carry the version
of the code in a trailer.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from vermeil_settings import code_version
from vermeil_telemetry import get_logger

from vermeil_rpc.service import Service

VERSION_KEY = "x-vermeil-version"
"""Trailer of every health check: which code runs here."""
_ANSWER_WITHIN = 5.0
_STATUS = health_pb2.HealthCheckResponse.ServingStatus
_logger = get_logger(__name__)


class Health:
    """Health of the services of one server; the empty name stands for all of them together."""

    def __init__(self, services: Sequence[Service], probe_every: float) -> None:
        self._services = services
        self._probe_every = probe_every
        self._servicer = _Servicer()
        self._known: dict[str, bool] = {}
        self._task: asyncio.Task[None] | None = None

    def add_to_server(self, server: grpc.aio.Server) -> None:
        """Let `server` answer health checks."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Probe once, then keep probing in the background."""
        await self._probe_all()
        self._task = asyncio.create_task(self._keep_probing())

    async def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        if self._task is not None:
            self._task.cancel()
        await self._servicer.enter_graceful_shutdown()

    async def _keep_probing(self) -> None:
        while True:
            await asyncio.sleep(self._probe_every)
            await self._probe_all()

    async def _probe_all(self) -> None:
        answers = await asyncio.gather(*(_is_ready(service) for service in self._services))
        for service, ready in zip(self._services, answers, strict=True):
            await self._tell(service.name, ready)
        await self._tell("", all(answers))

    async def _tell(self, name: str, ready: bool) -> None:
        if self._known.get(name) is ready:
            return
        if name and name in self._known:
            _logger.warning("readiness changed", rpc_service=name, ready=ready)
        self._known[name] = ready
        await self._servicer.set(name, _STATUS.SERVING if ready else _STATUS.NOT_SERVING)


class _Servicer(health.aio.HealthServicer):  # type: ignore[misc,name-defined]
    """gRPC's own, which also says its version."""

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802
        context.set_trailing_metadata(((VERSION_KEY, code_version()),))
        return await super().Check(request, context)


async def _is_ready(service: Service) -> bool:
    if service.ready is None:
        return True
    try:
        return await asyncio.wait_for(service.ready(), _ANSWER_WITHIN)
    except Exception:
        _logger.warning("readiness probe failed", rpc_service=service.name, exc_info=True)
        return False
