"""/v1/jobs: list, look, cancel, follow, read the log."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from vermeil.job.v1.job_pb2 import Job, JobState
from vermeil.job.v1.job_service_pb2 import (
    CancelJobRequest,
    GetJobRequest,
    ListJobLogsRequest,
    ListJobLogsResponse,
    ListJobsRequest,
    ListJobsResponse,
)

from vermeil_gateway.api.shared import PageSize, PageToken, WithClients, documented, shown
from vermeil_gateway.disconnect import EventStream, event, kept_alive, until_disconnect
from vermeil_gateway.protojson import to_json

router = APIRouter(tags=["Jobs"])

StateName = Literal[
    "JOB_STATE_UNSPECIFIED",
    "JOB_STATE_PENDING",
    "JOB_STATE_RUNNING",
    "JOB_STATE_SUCCEEDED",
    "JOB_STATE_FAILED",
    "JOB_STATE_CANCELLED",
]


@router.get("/v1/jobs", **documented(ListJobsResponse))
async def list_jobs(
    clients: WithClients,
    page_size: PageSize = 0,
    page_token: PageToken = "",
    state: Annotated[StateName, Query(description="Only jobs in this state.")] = "JOB_STATE_UNSPECIFIED",
    kind: Annotated[str, Query(description="Only jobs of this kind, such as vermeil.trainer.v1.train.")] = "",
) -> JSONResponse:
    """All jobs, newest first."""
    request = ListJobsRequest(
        page_size=page_size, page_token=page_token, state=JobState.Value(state), kind=kind
    )
    return shown(await clients.call(clients.jobs.ListJobs, request))


@router.get("/v1/jobs/{job}", **documented(Job))
async def get_job(job: str, clients: WithClients) -> JSONResponse:
    """One job."""
    return shown((await clients.call(clients.jobs.GetJob, GetJobRequest(name=f"jobs/{job}"))).job)


@router.post("/v1/jobs/{job}/cancel", **documented(Job))
async def cancel_job(job: str, clients: WithClients) -> JSONResponse:
    """Ask a job to stop: a pending one stops at once, a running one within two seconds."""
    return shown((await clients.call(clients.jobs.CancelJob, CancelJobRequest(name=f"jobs/{job}"))).job)


@router.get("/v1/jobs/{job}/logs", **documented(ListJobLogsResponse))
async def list_job_logs(
    job: str, clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """The job's log lines, oldest first."""
    request = ListJobLogsRequest(name=f"jobs/{job}", page_size=page_size, page_token=page_token)
    return shown(await clients.call(clients.jobs.ListJobLogs, request))


@router.get("/v1/jobs/{job}/events", response_class=Response)
async def watch_job(job: str, request: Request, clients: WithClients) -> Response:
    """Server-sent events: the job now and after every change; the stream ends with its final state."""
    changes = clients.watch(f"jobs/{job}")
    first = await until_disconnect(request, anext(changes))
    events = kept_alive(_events(first, changes), request.app.state.stopping)
    return EventStream(events, changes.aclose)


async def _events(first: Job, changes: AsyncGenerator[Job, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(changes):
        yield event(to_json(first))
        async for job in changes:
            yield event(to_json(job))
