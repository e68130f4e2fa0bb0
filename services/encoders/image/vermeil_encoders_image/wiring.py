"""Wiring: which registry and which store the service works with."""

import asyncio
from functools import partial

from vermeil.encoder.v1.encoder_service_pb2_grpc import add_EncoderServiceServicer_to_server
from vermeil_artifacts import ArtifactStore, store_from_settings
from vermeil_errors import VermeilError
from vermeil_rpc import Service

from vermeil_encoders_image.api import EncoderServicer
from vermeil_encoders_image.clients import Registry, registry
from vermeil_encoders_image.models import DualModels
from vermeil_encoders_image.settings import EncoderImageSettings
from vermeil_encoders_image.submit import submit


def build(
    settings: EncoderImageSettings, *, known: Registry | None = None, store: ArtifactStore | None = None
) -> list[Service]:
    """EncoderService; `known` and `store` stand in for the real ones in tests."""
    names = known or registry(settings)
    artifacts = store or store_from_settings(settings)

    async def ready() -> bool:
        try:
            await asyncio.to_thread(names.jobs.list_jobs, page_size=1)
        except VermeilError:
            return False
        return True

    servicer = EncoderServicer(
        partial(submit, registry=names), names.names, artifacts, DualModels(artifacts, settings)
    )
    return [
        Service(
            "vermeil.encoder.v1.EncoderService", add_EncoderServiceServicer_to_server, servicer, ready=ready
        )
    ]
