"""Wiring: which registry the service talks to."""

from functools import partial

from vermeil.evaluation.v1.evaluation_service_pb2_grpc import add_EvaluationServiceServicer_to_server
from vermeil_jobs import Registry, registry_answers, registry_at
from vermeil_rpc import Service

from vermeil_evaluator.api import EvaluationServicer
from vermeil_evaluator.reports import Reports
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_evaluator.submit import submit
from vermeil_evaluator.surroundings import Surroundings


def build(settings: EvaluatorSettings, *, known: Registry | None = None) -> list[Service]:
    """EvaluationService; `known` stands in for the registry in tests."""
    found, around = known or registry_at(settings), Surroundings.of(settings)
    servicer = EvaluationServicer(
        partial(submit, registry=found, around=around), Reports(found.jobs, around.store), around.include
    )

    return [
        Service(
            "vermeil.evaluation.v1.EvaluationService",
            add_EvaluationServiceServicer_to_server,
            servicer,
            ready=partial(registry_answers, found.jobs),
        )
    ]
