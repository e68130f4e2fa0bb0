"""Jobs that do nothing but stand in a list and change their state when told."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from vermeil.job.v1 import job_service_pb2 as jobs
from vermeil.job.v1.job_pb2 import Job, JobPriority, JobState, LogLine
from vermeil.job.v1.job_service_pb2_grpc import JobServiceServicer
from vermeil_errors import Conflict, NotFound
from vermeil_rpc.behalf import current_owner

_UNSAID = JobPriority.JOB_PRIORITY_UNSPECIFIED
_FINAL = (JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED)


class FakeJobs(JobServiceServicer):
    """Keeps jobs by name and by request id."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.num_watching = 0
        self._changed = asyncio.Condition()

    def start(
        self, kind: str, spec: Message, request_id: str, priority: JobPriority.ValueType = _UNSAID
    ) -> Job:
        """The job of this request id, new or old."""
        for job in self.jobs.values():
            if job.request_id == request_id:
                return job
        job = Job(
            name=f"jobs/{len(self.jobs) + 1}",
            kind=kind,
            state=JobState.JOB_STATE_PENDING,
            request_id=request_id,
            priority=priority,
            owner=current_owner(),
            create_time=Timestamp(seconds=1_800_000_000),
        )
        job.spec.Pack(spec)
        self.jobs[job.name] = job
        return job

    async def change(self, name: str, **fields: Any) -> Job:
        """Set fields of a job and tell those who watch."""
        async with self._changed:
            self.jobs[name].MergeFrom(Job(**fields))
            self._changed.notify_all()
        return self.jobs[name]

    async def GetJob(self, request: jobs.GetJobRequest, context: Any) -> Any:
        """One job."""
        return jobs.GetJobResponse(job=self._job(request.name))

    async def ListJobs(self, request: jobs.ListJobsRequest, context: Any) -> Any:
        """All jobs, newest first."""
        found = [
            job
            for job in reversed(self.jobs.values())
            if request.state in (0, job.state) and request.kind in ("", job.kind)
        ]
        return jobs.ListJobsResponse(jobs=found)

    async def CancelJob(self, request: jobs.CancelJobRequest, context: Any) -> Any:
        """Stops it at once."""
        if self._job(request.name).state in _FINAL:
            raise Conflict("the job is over", field="name", value=request.name)
        job = await self.change(request.name, state=JobState.JOB_STATE_CANCELLED, cancel_requested=True)
        return jobs.CancelJobResponse(job=job)

    async def WatchJob(
        self, request: jobs.WatchJobRequest, context: Any
    ) -> AsyncIterator[jobs.WatchJobResponse]:
        """The job now and after every change."""
        job = self._job(request.name)
        self.num_watching += 1
        try:
            told = jobs.WatchJobResponse(job=job)
            yield told
            while told.job.state not in _FINAL:
                async with self._changed:
                    while job == told.job:
                        await self._changed.wait()
                told = jobs.WatchJobResponse(job=job)
                yield told
        finally:
            self.num_watching -= 1

    async def ListJobLogs(self, request: jobs.ListJobLogsRequest, context: Any) -> Any:
        """Two lines."""
        self._job(request.name)
        lines = [LogLine(level="info", text=text) for text in ("begun", "done")]
        return jobs.ListJobLogsResponse(lines=lines)

    def _job(self, name: str) -> Job:
        if name not in self.jobs:
            raise NotFound("no such job", field="name", value=name)
        return self.jobs[name]
