"""Wiring: which registry the service talks to."""

from functools import partial

from vermeil.ingest.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from vermeil_jobs import JobClient, registry_answers
from vermeil_rpc import Service

from vermeil_ingest.api import IngestServicer
from vermeil_ingest.clients import registry_jobs
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.submit import submit


def build(settings: IngestSettings, *, jobs: JobClient | None = None) -> list[Service]:
    """IngestService; `jobs` stands in for the registry in tests."""
    registry = jobs or registry_jobs(settings)
    servicer = IngestServicer(partial(submit, jobs=registry, roots=settings.roots))

    return [
        Service(
            "vermeil.ingest.v1.IngestService",
            add_IngestServiceServicer_to_server,
            servicer,
            ready=partial(registry_answers, registry),
        )
    ]
