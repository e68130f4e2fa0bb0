"""Calls to other services; each has a deadline."""

from vermeil_jobs import GrpcJobs

from vermeil_ingest.settings import IngestSettings

SECONDS = 10.0


def registry_jobs(settings: IngestSettings) -> GrpcJobs:
    """The registry's JobService; connects when first used."""
    return GrpcJobs.connect(
        settings.registry_address, token=settings.token, tls=settings.tls, timeout=SECONDS
    )
