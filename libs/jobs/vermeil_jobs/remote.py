"""GrpcJobs: the registry's JobService as a JobClient, for workers and services."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Self

import grpc
from google.protobuf import any_pb2
from vermeil.job.v1 import job_service_pb2 as wire
from vermeil.job.v1.job_service_pb2_grpc import JobServiceStub
from vermeil_artifacts import ArtifactRef
from vermeil_errors import DeadlineExceeded, Unavailable
from vermeil_rpc import connect
from vermeil_rpc.convert import artifact_to_message
from vermeil_settings import Tls
from vermeil_telemetry import traceparent

from vermeil_jobs import messages
from vermeil_jobs.client import (
    DEFAULT_LEASE,
    DEFAULT_PAGE_SIZE,
    NO_OUTPUTS,
    Claimed,
    JobPage,
    LogPage,
    Pulse,
)
from vermeil_jobs.job import Job, JobState, LogLine, NewJob, Outcome, Progress

_WATCH_SECONDS = 600.0
_RETRY_SECONDS = 0.5


class GrpcJobs:
    """A JobClient over the wire; every call has a deadline of `timeout` seconds."""

    def __init__(self, channel: grpc.Channel, *, timeout: float = 10.0) -> None:
        self._stub = JobServiceStub(channel)
        self._timeout = timeout

    @classmethod
    def connect(
        cls, address: str, *, token: str | None = None, tls: Tls | None = None, timeout: float = 10.0
    ) -> Self:
        """A client of the registry at `address`; connects when first used."""
        return cls(connect(address, token=token, tls=tls), timeout=timeout)

    def create(self, new: NewJob) -> Job:
        """Record a job and ring its queue; the same request id gives the same job."""
        request = wire.CreateJobRequest(
            kind=new.kind,
            queue=new.queue,
            spec=any_pb2.Any(type_url=new.spec.type_url, value=new.spec.value),
            after=new.after,
            inputs={role: artifact_to_message(ref) for role, ref in new.inputs.items()},
            request_id=new.request_id,
            max_attempts=new.max_attempts,
            priority=messages.priority_to_message(new.priority),
            owner=new.owner,
        )
        if new.traceparent:
            with traceparent(new.traceparent):
                response = self._stub.CreateJob(request, timeout=self._timeout)
        else:
            response = self._stub.CreateJob(request, timeout=self._timeout)
        return messages.job_from_message(response.job)

    def get(self, name: str) -> Job:
        """One job."""
        response = self._stub.GetJob(wire.GetJobRequest(name=name), timeout=self._timeout)
        return messages.job_from_message(response.job)

    def list_jobs(
        self,
        *,
        page_size: int = DEFAULT_PAGE_SIZE,
        page_token: str = "",
        state: JobState | None = None,
        kind: str = "",
    ) -> JobPage:
        """A page of jobs, newest first."""
        request = wire.ListJobsRequest(
            page_size=page_size, page_token=page_token, state=messages.state_to_message(state), kind=kind
        )
        response = self._stub.ListJobs(request, timeout=self._timeout)
        return JobPage(tuple(map(messages.job_from_message, response.jobs)), response.next_page_token)

    def cancel(self, name: str) -> Job:
        """Ask a job to stop; a job that is over stays as it is."""
        response = self._stub.CancelJob(wire.CancelJobRequest(name=name), timeout=self._timeout)
        return messages.job_from_message(response.job)

    def watch(self, name: str, *, timeout: float | None = None) -> Iterator[Job]:
        """The job now and after every change; a registry that goes away is waited for."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        last: Job | None = None
        while last is None or not last.state.is_final:
            left = end - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(
                    f"{name} is still {last.state if last else 'unknown'} after {timeout} s"
                )
            call = self._stub.WatchJob(wire.WatchJobRequest(name=name), timeout=min(left, _WATCH_SECONDS))
            try:
                for response in call:
                    job = messages.job_from_message(response.job)
                    if job != last:
                        yield job
                    last = job
            except (DeadlineExceeded, Unavailable) as error:
                if last is None and (timeout is None or isinstance(error, Unavailable)):
                    raise
                time.sleep(min(_RETRY_SECONDS, max(0.0, end - time.monotonic())))
            finally:
                call.cancel()  # type: ignore[no-untyped-call]

    def list_logs(self, name: str, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str = "") -> LogPage:
        """A page of a job's log lines, oldest first."""
        request = wire.ListJobLogsRequest(name=name, page_size=page_size, page_token=page_token)
        response = self._stub.ListJobLogs(request, timeout=self._timeout)
        return LogPage(messages.lines_from_message(response.lines), response.next_page_token)

    def claim(
        self, name: str, *, worker: str, lease: timedelta = DEFAULT_LEASE, kinds: Collection[str] = ()
    ) -> Claimed:
        """The lease of a pending job, or of a running one whose lease has ended; see JobClient."""
        request = wire.ClaimJobRequest(
            name=name, worker=worker, lease_duration=messages.duration_to_message(lease), kinds=kinds
        )
        response = self._stub.ClaimJob(request, timeout=self._timeout)
        lease_held = messages.lease_from_message(response.lease) if response.claimed else None
        return Claimed(messages.job_from_message(response.job), lease_held)

    def heartbeat(
        self,
        name: str,
        *,
        fence: int,
        progress: Progress | None = None,
        lines: Sequence[LogLine] = (),
        outputs: Mapping[str, ArtifactRef] = NO_OUTPUTS,
        lease: timedelta = DEFAULT_LEASE,
    ) -> Pulse:
        """Keep the lease and report; sent twice, lines are written once. `outputs` join those of the job."""
        request = wire.HeartbeatJobRequest(
            name=name,
            fence=fence,
            progress=None if progress is None else messages.progress_to_message(progress),
            lines=map(messages.line_to_message, lines),
            outputs={role: artifact_to_message(ref) for role, ref in outputs.items()},
            lease_duration=messages.duration_to_message(lease),
        )
        response = self._stub.HeartbeatJob(request, timeout=self._timeout)
        return Pulse(messages.lease_from_message(response.lease), response.cancel_requested)

    def finish(self, name: str, *, fence: int, outcome: Outcome) -> Job:
        """End a job under its fence; sent twice, it is answered with the same job."""
        request = messages.finish_to_message(name, fence, outcome)
        response = self._stub.FinishJob(request, timeout=self._timeout)
        return messages.job_from_message(response.job)

    def release(self, name: str, *, fence: int) -> Job:
        """Give a job back unharmed; the attempt is not counted."""
        response = self._stub.ReleaseJob(
            wire.ReleaseJobRequest(name=name, fence=fence), timeout=self._timeout
        )
        return messages.job_from_message(response.job)
