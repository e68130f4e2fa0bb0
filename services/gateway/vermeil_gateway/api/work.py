"""Starting work (ingestions, trainings, evaluations), and what there is to start.

Bodies are the Start…Request messages. The same request_id, or Idempotency-Key, gives the same job.
"""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vermeil.evaluation.v1.evaluation_service_pb2 import (
    ListTasksRequest,
    ListTasksResponse,
    StartEvaluationRequest,
    StartEvaluationResponse,
)
from vermeil.ingest.v1.ingest_service_pb2 import StartIngestRequest, StartIngestResponse
from vermeil.training.v1.training_service_pb2 import (
    ListRecipesRequest,
    ListRecipesResponse,
    StartTrainingRequest,
    StartTrainingResponse,
)

from vermeil_gateway.api.shared import (
    PageSize,
    PageToken,
    WithClients,
    check_priority,
    documented,
    read,
    request_id_of,
    shown,
)

router = APIRouter(tags=["Work"])

ACCEPTED = 202


@router.post("/v1/ingestions", **documented(StartIngestResponse, StartIngestRequest, ACCEPTED))
async def start_ingest(request: Request, clients: WithClients) -> JSONResponse:
    """Turn raw media into a new version of a dataset."""
    message = await read(request, StartIngestRequest())
    check_priority(request, message.priority)
    message.request_id = request_id_of(request, message.request_id)
    return shown(await clients.call(clients.ingest.StartIngest, message), ACCEPTED)


@router.post("/v1/trainings", **documented(StartTrainingResponse, StartTrainingRequest, ACCEPTED))
async def start_training(request: Request, clients: WithClients) -> JSONResponse:
    """Train a model by a recipe."""
    message = await read(request, StartTrainingRequest())
    check_priority(request, message.priority)
    message.request_id = request_id_of(request, message.request_id)
    return shown(await clients.call(clients.training.StartTraining, message), ACCEPTED)


@router.post("/v1/evaluations", **documented(StartEvaluationResponse, StartEvaluationRequest, ACCEPTED))
async def start_evaluation(request: Request, clients: WithClients) -> JSONResponse:
    """Measure a model."""
    message = await read(request, StartEvaluationRequest())
    check_priority(request, message.priority)
    message.request_id = request_id_of(request, message.request_id)
    return shown(await clients.call(clients.evaluation.StartEvaluation, message), ACCEPTED)


@router.get("/v1/recipes", **documented(ListRecipesResponse))
async def list_recipes(
    clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """The recipes that come with the trainer."""
    request = ListRecipesRequest(page_size=page_size, page_token=page_token)
    return shown(await clients.call(clients.training.ListRecipes, request))


@router.get("/v1/evaluation-tasks", **documented(ListTasksResponse))
async def list_tasks(
    clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """What can be measured."""
    request = ListTasksRequest(page_size=page_size, page_token=page_token)
    return shown(await clients.call(clients.evaluation.ListTasks, request))
