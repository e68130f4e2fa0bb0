"""Wiring: which registry the service talks to."""

import asyncio
from functools import partial

from vermeil.evaluation.v1.evaluation_service_pb2_grpc import add_EvaluationServiceServicer_to_server
from vermeil_errors import VermeilError
from vermeil_rpc import Service

from vermeil_evaluator.api import EvaluationServicer
from vermeil_evaluator.clients import Registry, registry
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_evaluator.submit import submit


def build(settings: EvaluatorSettings, *, known: Registry | None = None) -> list[Service]:
    """EvaluationService; `known` stands in for the registry in tests."""
    found = known or registry(settings)
    servicer = EvaluationServicer(partial(submit, registry=found))

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
