"""What the ledger needs of a storage: a transaction with a handful of verbs.

Implemented over dictionaries (memory.py) and over SQL (the registry). A storage decides nothing
about jobs; it keeps rows, and makes a transaction happen whole or not at all.
"""

from collections.abc import Callable, Iterable, Sequence
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
    Progress,
)
from vermeil_jobs.states import Standing

T = TypeVar("T")


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
