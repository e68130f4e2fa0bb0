"""TrainingService: message in, domain call, message out."""

# ruff: noqa: N802, ARG002

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from vermeil.training.v1 import training_service_pb2 as wire
from vermeil.training.v1.training_service_pb2_grpc import TrainingServiceServicer
from vermeil_jobs import Job
from vermeil_jobs.messages import job_to_message
from vermeil_jobs.pages import check_page_size, make_token, read_text

from vermeil_trainer.reading import recipe_to_message
from vermeil_trainer.shipped import shipped_recipes

Context = grpc.aio.ServicerContext[Any, Any]
_DEFAULT_PAGE_SIZE = 100


class TrainingServicer(TrainingServiceServicer):
    """Answers for TrainingService."""

    def __init__(self, submit: Callable[[wire.StartTrainingRequest], Job]) -> None:
        self._submit = submit

    async def StartTraining(
        self, request: wire.StartTrainingRequest, context: Context
    ) -> wire.StartTrainingResponse:
        """Submit the job."""
        job = await asyncio.to_thread(self._submit, request)
        return wire.StartTrainingResponse(job=job_to_message(job))

    async def ListRecipes(
        self, request: wire.ListRecipesRequest, context: Context
    ) -> wire.ListRecipesResponse:
        """A page of recipes by name."""
        size = check_page_size(request.page_size or _DEFAULT_PAGE_SIZE)
        after = read_text(request.page_token, "recipes") or ""
        rest = [recipe for recipe in shipped_recipes() if recipe.name > after]
        token = make_token("recipes", rest[size - 1].name) if len(rest) > size else ""
        return wire.ListRecipesResponse(recipes=map(recipe_to_message, rest[:size]), next_page_token=token)
