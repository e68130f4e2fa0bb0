"""How the parts of a running local Vermeil are."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from vermeil_errors import VermeilError
from vermeil_rpc import connect
from vermeil_settings import Tls

from vermeil_local.home import Home, Running
from vermeil_local.settings import LocalSettings

ENCODER = "vermeil.encoder.v1.EncoderService"
GENERATOR = "vermeil.generation.v1.GenerationService"
SERVICES = {
    "registry": ("vermeil.registry.v1.RegistryService", "vermeil.job.v1.JobService"),
    "ingest": ("vermeil.ingest.v1.IngestService",),
    "text encoder": (ENCODER,),
    "trainer": ("vermeil.training.v1.TrainingService",),
    "evaluator": ("vermeil.evaluation.v1.EvaluationService",),
}
_SECONDS = 10.0


@dataclass(frozen=True)
class Part:
    """One part of Vermeil."""

    part: str
    """Its name."""
    state: str
    """serving, or what is wrong."""
    detail: str
    """Where it is."""


def look(settings: LocalSettings, home: Home, running: Running) -> list[Part]:
    """Ask every part how it is."""
    demo = [_answering("demo", running.demo, "/")] if running.demo else []
    return [
        *_services(running, settings.tls),
        _answering("gateway", running.url, "/readyz"),
        *demo,
        _worker(home),
    ]


def _services(running: Running, tls: Tls | None) -> Iterator[Part]:
    with connect(running.address, tls=tls) as channel:
        stub = HealthStub(channel)
        for part, names in SERVICES.items():
            for name in names:
                yield _service(part, name, stub, running.address)
    apart = (("image encoder", ENCODER, running.image_encoder), ("generator", GENERATOR, running.generator))
    for part, name, address in apart:
        with connect(address) as channel:
            yield _service(part, name, HealthStub(channel), address)


def _service(part: str, name: str, stub: HealthStub, address: str) -> Part:
    try:
        answer = stub.Check(HealthCheckRequest(service=name), timeout=_SECONDS)
        state = HealthCheckResponse.ServingStatus.Name(answer.status).lower().replace("_", " ")
    except VermeilError as error:
        state = error.reason.lower().replace("_", " ")
    return Part(part, state, f"{name} at {address}")


def _answering(part: str, url: str, path: str) -> Part:
    try:
        ready = httpx.get(f"{url}{path}", timeout=_SECONDS).is_success
    except httpx.ReadTimeout:
        return Part(part, "starting", url)
    except httpx.TransportError:
        return Part(part, "unavailable", url)
    return Part(part, "serving" if ready else "not ready", url)


def _worker(home: Home) -> Part:
    try:
        pid = int(home.worker_ready.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return Part("worker", "starting", f"see {home.logs / 'worker.log'}")
    return Part("worker", "serving", f"process {pid}")
