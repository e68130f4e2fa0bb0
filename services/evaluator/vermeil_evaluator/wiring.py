"""Wiring: which registry the service talks to."""

import asyncio
from functools import partial

from vermeil.evaluation.v1.evaluation_service_pb2_grpc import add_EvaluationServiceServicer_to_server
from vermeil_errors import VermeilError
from vermeil_rpc import Service

from vermeil_evaluator.api import EvaluationServicer
from vermeil_evaluator.clients import Registry, registry
from vermeil_evaluator.reports import Reports
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_evaluator.submit import submit
from vermeil_evaluator.surroundings import Surroundings


def build(settings: EvaluatorSettings, *, known: Registry | None = None) -> list[Service]:
    """EvaluationService; `known` stands in for the registry in tests."""
    found, around = known or registry(settings), Surroundings.of(settings)
    servicer = EvaluationServicer(
        partial(submit, registry=found, around=around), Reports(found.jobs, around.store), around.include
    )

    async def ready() -> bool:
        try:
            await asyncio.to_thread(found.jobs.list_jobs, page_size=1)
        except VermeilError:
            return False
        return True

    return [
        Service(
            "vermeil.evaluation.v1.EvaluationService",
            add_EvaluationServiceServicer_to_server,
            servicer,
            ready=ready,
        )
    ]
