"""JobService: message in, ledger call, message out."""

# ruff: noqa: N802, ARG002

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from vermeil.job.v1 import job_service_pb2 as wire
from vermeil.job.v1.job_service_pb2_grpc import JobServiceServicer
from vermeil_errors import VermeilError
from vermeil_jobs import Claimed, Ledger, NewJob, Spec, messages
from vermeil_jobs.client import DEFAULT_PAGE_SIZE
from vermeil_jobs.names import DEFAULT_OWNER
from vermeil_telemetry import current_traceparent, get_logger

from vermeil_registry.threads import Threads
from vermeil_registry.watch import Watches

Context = grpc.aio.ServicerContext[Any, Any]
_DEFAULT_ATTEMPTS = 5
_logger = get_logger(__name__)


class JobServicer(JobServiceServicer):
    """Answers for vermeil.job.v1.JobService."""

    def __init__(self, ledger: Ledger, threads: Threads, watches: Watches) -> None:
        self._ledger = ledger
        self._run = threads.run
        self._watches = watches
        self._returning: set[asyncio.Task[None]] = set()

    async def CreateJob(self, request: wire.CreateJobRequest, context: Context) -> wire.CreateJobResponse:
        """Record a job."""
        new = NewJob(
            kind=request.kind,
            queue=request.queue,
            spec=Spec(request.spec.type_url, request.spec.value),
            request_id=request.request_id,
            after=tuple(request.after),
            inputs=messages.artifacts_from_message(request.inputs, "inputs"),
            max_attempts=request.max_attempts or _DEFAULT_ATTEMPTS,
            priority=messages.priority_from_message(request.priority),
            owner=request.owner or DEFAULT_OWNER,
            traceparent=current_traceparent(),
        )
        job = await self._run(self._ledger.create, new)
        return wire.CreateJobResponse(job=messages.job_to_message(job))

    async def GetJob(self, request: wire.GetJobRequest, context: Context) -> wire.GetJobResponse:
        """One job."""
        job = await self._run(self._ledger.get, request.name)
        return wire.GetJobResponse(job=messages.job_to_message(job))

    async def ListJobs(self, request: wire.ListJobsRequest, context: Context) -> wire.ListJobsResponse:
        """A page of jobs."""
        page = await self._run(
            self._ledger.list_jobs,
            page_size=request.page_size or DEFAULT_PAGE_SIZE,
            page_token=request.page_token,
            state=messages.state_from_message(request.state),
            kind=request.kind,
        )
        jobs = map(messages.job_to_message, page.jobs)
        return wire.ListJobsResponse(jobs=jobs, next_page_token=page.next_page_token)

    async def CancelJob(self, request: wire.CancelJobRequest, context: Context) -> wire.CancelJobResponse:
        """Ask a job to stop."""
        job = await self._run(self._ledger.cancel, request.name)
        return wire.CancelJobResponse(job=messages.job_to_message(job))

    async def WatchJob(
        self, request: wire.WatchJobRequest, context: Context
    ) -> AsyncIterator[wire.WatchJobResponse]:
        """The job now and after every change."""
        async for job in self._watches.follow(request.name):
            yield wire.WatchJobResponse(job=messages.job_to_message(job))

    async def ListJobLogs(
        self, request: wire.ListJobLogsRequest, context: Context
    ) -> wire.ListJobLogsResponse:
        """A page of log lines."""
        page = await self._run(
            self._ledger.list_logs,
            request.name,
            page_size=request.page_size or DEFAULT_PAGE_SIZE,
            page_token=request.page_token,
        )
        lines = map(messages.line_to_message, page.lines)
        return wire.ListJobLogsResponse(lines=lines, next_page_token=page.next_page_token)

    async def ClaimJob(self, request: wire.ClaimJobRequest, context: Context) -> wire.ClaimJobResponse:
        """The lease of a job; that of a worker which has gone before the answer goes back."""
        lease = messages.duration_from_message(request.lease_duration)
        kinds = tuple(dict.fromkeys(request.kinds))
        claiming = asyncio.create_task(
            self._run(self._ledger.claim, request.name, worker=request.worker, lease=lease, kinds=kinds)
        )
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            returning = asyncio.create_task(self._take_back(claiming))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
            raise
        return wire.ClaimJobResponse(
            claimed=claimed.lease is not None,
            job=messages.job_to_message(claimed.job),
            lease=messages.lease_to_message(claimed.lease) if claimed.lease else None,
        )

    async def _take_back(self, claiming: asyncio.Task[Claimed]) -> None:
        """Nobody knows of this lease: without its end the job would wait for it, and an attempt be spent."""
        try:
            claimed = await claiming
            if claimed.lease is not None:
                await self._run(self._ledger.release, claimed.job.name, fence=claimed.lease.fence)
        except VermeilError as error:
            _logger.warning("a lease that nobody knows of will end by itself", error=str(error))

    async def HeartbeatJob(
        self, request: wire.HeartbeatJobRequest, context: Context
    ) -> wire.HeartbeatJobResponse:
        """Keep a lease."""
        has_progress = request.HasField("progress")
        pulse = await self._run(
            self._ledger.heartbeat,
            request.name,
            fence=request.fence,
            progress=messages.progress_from_message(request.progress) if has_progress else None,
            lines=messages.lines_from_message(request.lines),
            outputs=messages.artifacts_from_message(request.outputs, "outputs"),
            lease=messages.duration_from_message(request.lease_duration),
        )
        return wire.HeartbeatJobResponse(
            cancel_requested=pulse.cancel_requested, lease=messages.lease_to_message(pulse.lease)
        )

    async def FinishJob(self, request: wire.FinishJobRequest, context: Context) -> wire.FinishJobResponse:
        """End a job."""
        outcome = messages.outcome_from_message(request)
        job = await self._run(self._ledger.finish, request.name, fence=request.fence, outcome=outcome)
        return wire.FinishJobResponse(job=messages.job_to_message(job))

    async def ReleaseJob(self, request: wire.ReleaseJobRequest, context: Context) -> wire.ReleaseJobResponse:
        """Give a job back."""
        job = await self._run(self._ledger.release, request.name, fence=request.fence)
        return wire.ReleaseJobResponse(job=messages.job_to_message(job))
