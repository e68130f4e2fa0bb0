"""Wiring: which registry and which encoder the service talks to."""

from functools import partial

from vermeil.training.v1.training_service_pb2_grpc import add_TrainingServiceServicer_to_server
from vermeil_jobs import registry_answers
from vermeil_rpc import Service

from vermeil_trainer.api import TrainingServicer
from vermeil_trainer.clients import Peers
from vermeil_trainer.clients import peers as peers_at
from vermeil_trainer.settings import TrainerSettings
from vermeil_trainer.submit import submit


def build(settings: TrainerSettings, *, peers: Peers | None = None) -> list[Service]:
    """TrainingService; `peers` stand in for the other services in tests."""
    known = peers or peers_at(settings)
    servicer = TrainingServicer(partial(submit, peers=known))

    return [
        Service(
            "vermeil.training.v1.TrainingService",
            add_TrainingServiceServicer_to_server,
            servicer,
            ready=partial(registry_answers, known.jobs),
        )
    ]
