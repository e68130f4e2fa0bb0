"""JobClient: what workers and services need of the registry's JobService.

Three things answer to it: GrpcJobs (over the wire), Ledger (the truth, over any storage) and
MemoryJobs (a Ledger over dictionaries, for tests). One suite, vermeil_jobs.suite, runs on all.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Protocol

from vermeil_artifacts import ArtifactRef

from vermeil_jobs.job import Job, JobState, Lease, LogLine, NewJob, Outcome, Progress

DEFAULT_LEASE = timedelta(seconds=10)
DEFAULT_PAGE_SIZE = 100
NO_OUTPUTS: Mapping[str, ArtifactRef] = MappingProxyType({})


@dataclass(frozen=True)
class JobPage:
    """A page of jobs, newest first."""

    jobs: tuple[Job, ...]
    next_page_token: str
    """Empty on the last page."""


@dataclass(frozen=True)
class LogPage:
    """A page of log lines, oldest first."""

    lines: tuple[LogLine, ...]
    next_page_token: str
    """Empty when no more lines are there yet."""


@dataclass(frozen=True)
class Claimed:
    """The answer to a claim."""

    job: Job
    lease: Lease | None
    """None if there is nothing to do: the job is over, held or not ready, or its owner at the limit."""


@dataclass(frozen=True)
class Pulse:
    """The answer to a heartbeat."""

    lease: Lease
    cancel_requested: bool
    """True if the work must stop and finish as cancelled."""


class JobClient(Protocol):
    """People create, watch and cancel; workers claim, heartbeat and finish."""

    def create(self, new: NewJob) -> Job:
        """Record a job and ring its queue; the same request id gives the same job."""
        ...

    def get(self, name: str) -> Job:
        """One job."""
        ...

    def list_jobs(
        self,
        *,
        page_size: int = DEFAULT_PAGE_SIZE,
        page_token: str = "",
        state: JobState | None = None,
        kind: str = "",
    ) -> JobPage:
        """A page of jobs, newest first."""
        ...

    def cancel(self, name: str) -> Job:
        """Ask a job to stop; a job that is over stays as it is."""
        ...

    def watch(self, name: str, *, timeout: float | None = None) -> Iterator[Job]:
        """The job now and after every change, until its final state."""
        ...

    def list_logs(self, name: str, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str = "") -> LogPage:
        """A page of a job's log lines, oldest first."""
        ...

    def claim(
        self, name: str, *, worker: str, lease: timedelta = DEFAULT_LEASE, kinds: Collection[str] = ()
    ) -> Claimed:
        """The lease of a pending job, or of a running one whose lease has ended.

        With `kinds` the job is only whom it was rung for: the lease is that of the job of these kinds whose
        turn it is in that job's queue.
        """
        ...

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
        ...

    def finish(self, name: str, *, fence: int, outcome: Outcome) -> Job:
        """End a job under its fence; sent twice, it is answered with the same job."""
        ...

    def release(self, name: str, *, fence: int) -> Job:
        """Give a job back unharmed; the attempt is not counted."""
        ...
