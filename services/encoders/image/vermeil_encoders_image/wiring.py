"""Wiring: which registry and which store the service works with."""

from functools import partial

from vermeil.encoder.v1.encoder_service_pb2_grpc import add_EncoderServiceServicer_to_server
from vermeil_artifacts import ArtifactStore, await_store
from vermeil_jobs import Registry, registry_answers, registry_at
from vermeil_rpc import Service

from vermeil_encoders_image.api import EncoderServicer
from vermeil_encoders_image.models import DualModels
from vermeil_encoders_image.settings import EncoderImageSettings
from vermeil_encoders_image.submit import submit


def build(
    settings: EncoderImageSettings, *, known: Registry | None = None, store: ArtifactStore | None = None
) -> list[Service]:
    """EncoderService; `known` and `store` stand in for the real ones in tests."""
    names = known or registry_at(settings)
    artifacts = store or await_store(settings)

    servicer = EncoderServicer(
        partial(submit, registry=names), names.names, artifacts, DualModels(artifacts, settings)
    )
    return [
        Service(
            "vermeil.encoder.v1.EncoderService",
            add_EncoderServiceServicer_to_server,
            servicer,
            ready=partial(registry_answers, names.jobs),
        )
    ]
