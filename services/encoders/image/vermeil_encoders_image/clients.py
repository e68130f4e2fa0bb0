"""Calls to the registry; each has a deadline."""

from dataclasses import dataclass

from vermeil_jobs import GrpcJobs, JobClient, Names, RegistryNames
from vermeil_rpc import connect

from vermeil_encoders_image.settings import EncoderImageSettings

SECONDS = 10.0


@dataclass(frozen=True)
class Registry:
    """Both of the registry's services."""

    jobs: JobClient
    names: Names


def registry(settings: EncoderImageSettings) -> Registry:
    """The registry at its address; connects when first used."""
    channel = connect(settings.registry_address, token=settings.token)
    return Registry(GrpcJobs(channel, timeout=SECONDS), RegistryNames(channel, timeout=SECONDS))
