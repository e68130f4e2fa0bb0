"""What the ledger needs of a storage: a transaction with a handful of verbs.

Implemented over dictionaries (memory.py) and over SQL (the registry). A storage decides nothing
about jobs; it keeps rows, and makes a transaction happen whole or not at all.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeVar

from vermeil_artifacts import ArtifactRef

from vermeil_jobs.job import (
    Job,
    JobState,
    JsonObject,
    LogLine,
    NewDatasetVersion,
    NewJob,
    NewModelVersion,
    Priority,
    Progress,
)
from vermeil_jobs.limits import Limits
from vermeil_jobs.states import Standing

T = TypeVar("T")
RUNNING, READY, HELD = "running", "ready", "held"
"""How a job that is not over counts in the length of its queue."""


@dataclass(frozen=True)
class Record:
    """A row: the job and what only the registry knows about it."""

    name: str
    new: NewJob
    """As it was asked for."""
    create_time: datetime
    standing: Standing
    progress: Progress = field(default_factory=Progress)
    outputs: dict[str, ArtifactRef] = field(default_factory=dict)
    result: JsonObject = field(default_factory=dict)
    ring_time: datetime | None = None
    """When the sweeper looks at it again; None while there is nothing to do."""
    num_rings: int = 0
    """How often the sweeper has rung in vain since the last change."""
    turn: int = 0
    """Of the jobs that wait in a queue, the one with the smallest goes first."""
    number: int = 0
    """Position in the order of creation, given by the storage."""

    @property
    def job(self) -> Job:
        """The job as everybody sees it."""
        new, standing = self.new, self.standing
        return Job(
            name=self.name,
            kind=new.kind,
            queue=new.queue,
            spec=new.spec,
            state=standing.state,
            priority=new.priority,
            owner=new.owner,
            after=new.after,
            progress=self.progress,
            attempt=standing.attempt,
            max_attempts=standing.max_attempts,
            cancel_requested=standing.cancel_requested,
            inputs=new.inputs,
            outputs=self.outputs,
            result=self.result,
            error=standing.error,
            request_id=new.request_id,
            traceparent=new.traceparent,
            create_time=self.create_time,
            start_time=standing.start_time,
            end_time=standing.end_time,
        )

    def stand(self, standing: Standing) -> "Record":
        """The same row with another standing."""
        return replace(self, standing=standing)


class Transaction(Protocol):
    """One transaction on the rows."""

    def find(self, name: str, *, hold: bool = False) -> Record | None:
        """A job; with `hold`, nobody else changes it before this transaction ends."""
        ...

    def find_request(self, owner: str, request_id: str) -> Record | None:
        """The job that this request made."""
        ...

    def insert(self, record: Record) -> Record:
        """Add a job; returns it with its number."""
        ...

    def save(self, record: Record) -> None:
        """Change a job, at once visible to this transaction's reads."""
        ...

    def successors(self, name: str) -> list[str]:
        """Names of the jobs that wait for this one."""
        ...

    def due(self, now: datetime, limit: int) -> list[str]:
        """Names of jobs whose ring_time has come, longest due first."""
        ...

    def page(self, *, before: int | None, limit: int, state: JobState | None, kind: str) -> list[Record]:
        """Jobs with a smaller number than `before`, newest first."""
        ...

    def waiting(
        self,
        queue: str,
        now: datetime,
        *,
        kinds: Collection[str] = (),
        owner: str = "",
        without: Collection[str] = (),
        hold: bool = False,
    ) -> Record | None:
        """The ready job of a queue whose turn it is: of these kinds, if any are given, of this owner, if one
        is given, and of none of the owners `without`. With `hold`, nobody else has or gets it that way.
        """
        ...

    def queues(self, owner: str) -> list[str]:
        """Where the owner has jobs that wait for nothing but a worker."""
        ...

    def running_turn(self, queue: str) -> int | None:
        """The greatest turn of the queue's jobs that run; None where none does."""
        ...

    def first_turns(self, queue: str) -> dict[Priority, int]:
        """The smallest turn of the queue's jobs that wait, by priority."""
        ...

    def last_turn(self, queue: str, owner: str, priority: Priority) -> int | None:
        """The greatest turn of the owner's waiting jobs of a priority; None where none waits."""
        ...

    def limits(self, owner: str, *, hold: bool = False) -> Limits | None:
        """The owner's own limits; with `hold`, nobody else gets them so before this transaction ends."""
        ...

    def set_limits(self, owner: str, limits: Limits | None) -> None:
        """Give an owner limits of its own, or take them away."""
        ...

    def count(self, owner: str, state: JobState) -> int:
        """How many jobs the owner has in a state."""
        ...

    def full(self, default: Limits) -> list[str]:
        """Owners with as many running jobs as they may have, by their own limits or the default."""
        ...

    def owners(self, *, after: str, limit: int) -> list[str]:
        """Who has jobs that are not over, or limits of its own, and a name greater than `after`, by name."""
        ...

    def lengths(self) -> dict[tuple[str, str], int]:
        """How many jobs each queue has that run, wait for a worker, and wait for other jobs, by queue and
        RUNNING, READY or HELD.
        """
        ...

    def ring_soon(self, owner: str, now: datetime) -> None:
        """Let the sweeper look at once at all jobs of the owner that wait for nothing but a worker."""
        ...

    def add_lines(self, name: str, lines: Iterable[LogLine], keep: int) -> None:
        """Append lines, leaving out those already there; the last `keep` lines stay."""
        ...

    def lines(self, name: str, *, after: int, limit: int) -> list[tuple[int, LogLine]]:
        """Lines with a greater number than `after`, oldest first."""
        ...

    def add_artifact(self, ref: ArtifactRef, job: str, now: datetime) -> None:
        """Register an artifact unless it is registered already."""
        ...

    def add_version(self, version: NewDatasetVersion | NewModelVersion, job: str, now: datetime) -> str:
        """Register a version under the next number of its line; returns its name."""
        ...


class Storage(Protocol):
    """Runs transactions. The work may run more than once, so it must have no effects of its own."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` so that it happens whole, as if alone, or not at all."""
        ...

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, which only reads, on one state of the rows."""
        ...


def unseen(lines: Iterable[LogLine], known: Sequence[LogLine]) -> list[LogLine]:
    """The lines that are not in `known`: a heartbeat sent twice brings the same ones."""
    seen = set(known)
    return [line for line in lines if line not in seen]
