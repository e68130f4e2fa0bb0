"""The registry as services know it: jobs and names at one address, and whether it answers."""

import asyncio
from dataclasses import dataclass

from vermeil_errors import VermeilError
from vermeil_rpc import connect
from vermeil_settings import CommonSettings

from vermeil_jobs.client import JobClient
from vermeil_jobs.remote import GrpcJobs
from vermeil_jobs.versions import Names, RegistryNames

SECONDS = 10.0
"""Deadline of a call."""


@dataclass(frozen=True)
class Registry:
    """Both of the registry's services."""

    jobs: JobClient
    names: Names


def registry_at(settings: CommonSettings) -> Registry:
    """The registry that the settings name; connects when first used."""
    channel = connect(settings.registry_address, token=settings.token, tls=settings.tls)
    return Registry(GrpcJobs(channel, timeout=SECONDS), RegistryNames(channel, timeout=SECONDS))


async def registry_answers(jobs: JobClient) -> bool:
    """Whether the registry behind a client answers: what a service's own health depends on."""
    try:
        await asyncio.to_thread(jobs.list_jobs, page_size=1)
    except VermeilError:
        return False
    return True
