"""MemoryJobs: the whole ledger over dictionaries. A fake for tests that lies about nothing.

Jobs, versions and artifacts are plain attributes of `rows`, for a test to look at.
"""

import copy
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from vermeil_artifacts import ArtifactRef

from vermeil_jobs.bookkeeper import Policy
from vermeil_jobs.doorbell import Doorbell, RecordingDoorbell
from vermeil_jobs.job import (
    JobState,
    LogLine,
    NewDatasetVersion,
    NewModelVersion,
    Priority,
    utc_now,
)
from vermeil_jobs.ledger import Ledger
from vermeil_jobs.limits import Limits
from vermeil_jobs.names import version_name
from vermeil_jobs.storage import HELD, READY, RUNNING, Record, Transaction, unseen

T = TypeVar("T")


class ManualClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@dataclass
class MemoryRows:
    """The rows, and one transaction on them."""

    jobs: dict[str, Record] = field(default_factory=dict)
    logs: dict[str, list[tuple[int, LogLine]]] = field(default_factory=dict)
    artifacts: dict[str, tuple[ArtifactRef, str]] = field(default_factory=dict)
    """Reference and publishing job by digest."""
    versions: dict[str, tuple[NewDatasetVersion | NewModelVersion, str]] = field(default_factory=dict)
    """Version and registering job by name."""
    quotas: dict[str, Limits] = field(default_factory=dict)
    """Own limits by owner."""

    def find(self, name: str, *, hold: bool = False) -> Record | None:  # noqa: ARG002
        """A job; the storage's lock holds everything anyway."""
        return self.jobs.get(name)

    def find_request(self, owner: str, request_id: str) -> Record | None:
        """The job that this request made."""
        wanted = (owner, request_id)
        return next((r for r in self.jobs.values() if (r.new.owner, r.new.request_id) == wanted), None)

    def insert(self, record: Record) -> Record:
        """Add a job."""
        record = replace(record, number=len(self.jobs) + 1)
        self.jobs[record.name] = record
        return record

    def save(self, record: Record) -> None:
        """Change a job."""
        self.jobs[record.name] = record

    def successors(self, name: str) -> list[str]:
        """Names of the jobs that wait for this one."""
        return [record.name for record in self.jobs.values() if name in record.new.after]

    def due(self, now: datetime, limit: int) -> list[str]:
        """Names of jobs whose ring_time has come."""
        times = [(r.ring_time, r.name) for r in self.jobs.values() if r.ring_time and r.ring_time <= now]
        return [name for _, name in sorted(times)[:limit]]

    def page(self, *, before: int | None, limit: int, state: JobState | None, kind: str) -> list[Record]:
        """Jobs with a smaller number than `before`, newest first."""
        return [
            record
            for record in reversed(self.jobs.values())
            if (before is None or record.number < before)
            and state in (None, record.standing.state)
            and kind in ("", record.new.kind)
        ][:limit]

    def waiting(
        self,
        queue: str,
        now: datetime,
        *,
        kinds: Collection[str] = (),
        owner: str = "",
        without: Collection[str] = (),
        hold: bool = False,  # noqa: ARG002  the storage's lock holds everything anyway
    ) -> Record | None:
        """The ready job of a queue whose turn it is."""
        ready = [
            record
            for record in self._in(queue, JobState.PENDING)
            if record.standing.is_ready(now)
            and (not kinds or record.new.kind in kinds)
            and owner in ("", record.new.owner)
            and record.new.owner not in without
        ]
        return min(ready, key=lambda record: (record.turn, record.number), default=None)

    def queues(self, owner: str) -> list[str]:
        """Where the owner has jobs that wait for nothing but a worker."""
        return sorted({record.new.queue for record in self._waiting_of(owner)})

    def running_turn(self, queue: str) -> int | None:
        """The greatest turn of the queue's jobs that run; None where none does."""
        return max((record.turn for record in self._in(queue, JobState.RUNNING)), default=None)

    def first_turns(self, queue: str) -> dict[Priority, int]:
        """The smallest turn of the queue's jobs that wait, by priority."""
        waiting = sorted(self._in(queue, JobState.PENDING), key=lambda record: -record.turn)
        return {record.new.priority: record.turn for record in waiting}

    def last_turn(self, queue: str, owner: str, priority: Priority) -> int | None:
        """The greatest turn of the owner's waiting jobs of a priority."""
        wanted = (owner, priority)
        waiting = self._in(queue, JobState.PENDING)
        return max((r.turn for r in waiting if (r.new.owner, r.new.priority) == wanted), default=None)

    def limits(self, owner: str, *, hold: bool = False) -> Limits | None:  # noqa: ARG002  as in find
        """The owner's own limits."""
        return self.quotas.get(owner)

    def set_limits(self, owner: str, limits: Limits | None) -> None:
        """Give an owner limits of its own, or take them away."""
        if limits is None:
            self.quotas.pop(owner, None)
        else:
            self.quotas[owner] = limits

    def count(self, owner: str, state: JobState) -> int:
        """How many jobs the owner has in a state."""
        return sum((r.new.owner, r.standing.state) == (owner, state) for r in self.jobs.values())

    def full(self, default: Limits) -> list[str]:
        """Owners with as many running jobs as they may have."""
        running = Counter(r.new.owner for r in self.jobs.values() if r.standing.state is JobState.RUNNING)
        most = {owner: self.quotas.get(owner, default).max_running for owner in running}
        return [owner for owner, number in running.items() if 0 < most[owner] <= number]

    def owners(self, *, after: str, limit: int) -> list[str]:
        """Who has jobs that are not over, or limits of its own."""
        busy = {r.new.owner for r in self.jobs.values() if not r.standing.state.is_final}
        return sorted(owner for owner in busy | self.quotas.keys() if owner > after)[:limit]

    def lengths(self) -> dict[tuple[str, str], int]:
        """How many jobs each queue has that run, are ready, and are held."""
        unended = [r for r in self.jobs.values() if not r.standing.state.is_final]
        return dict(Counter((record.new.queue, _part(record)) for record in unended))

    def ring_soon(self, owner: str, now: datetime) -> None:
        """Let the sweeper look at once at all jobs of the owner that wait for nothing but a worker."""
        for record in self._waiting_of(owner):
            if record.standing.ready_time is None:
                self.save(replace(record, ring_time=now, num_rings=0))

    def _in(self, queue: str, state: JobState) -> list[Record]:
        return [r for r in self.jobs.values() if (r.new.queue, r.standing.state) == (queue, state)]

    def _waiting_of(self, owner: str) -> list[Record]:
        wanted = (owner, JobState.PENDING, 0)
        return [
            record
            for record in self.jobs.values()
            if (record.new.owner, record.standing.state, record.standing.num_waiting) == wanted
        ]

    def add_lines(self, name: str, lines: Iterable[LogLine], keep: int) -> None:
        """Append lines, leaving out those already there."""
        log = self.logs.get(name, [])
        start = log[-1][0] if log else 0
        fresh = enumerate(unseen(lines, [line for _, line in log]), start + 1)
        self.logs[name] = [*log, *fresh][-keep:]

    def lines(self, name: str, *, after: int, limit: int) -> list[tuple[int, LogLine]]:
        """Lines with a greater number than `after`, oldest first."""
        return [entry for entry in self.logs.get(name, []) if entry[0] > after][:limit]

    def add_artifact(self, ref: ArtifactRef, job: str, now: datetime) -> None:  # noqa: ARG002
        """Register an artifact unless it is registered already."""
        self.artifacts.setdefault(ref.digest, (ref, job))

    def add_version(self, version: NewDatasetVersion | NewModelVersion, job: str, now: datetime) -> str:
        """Register a version under the next number of its line."""
        number = 1
        while version_name(version.line, number) in self.versions:
            number += 1
        self.add_artifact(version.artifact, job, now)
        self.versions[version_name(version.line, number)] = (version, job)
        return version_name(version.line, number)


def _part(record: Record) -> str:
    if record.standing.state is JobState.RUNNING:
        return RUNNING
    return HELD if record.standing.num_waiting else READY


class MemoryStorage:
    """Transactions by one lock and by copies."""

    def __init__(self) -> None:
        self.rows = MemoryRows()
        self._lock = threading.RLock()

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a copy that replaces the rows if it succeeds."""
        with self._lock:
            changed = MemoryRows(
                copy.copy(self.rows.jobs),
                copy.copy(self.rows.logs),
                copy.copy(self.rows.artifacts),
                copy.copy(self.rows.versions),
                copy.copy(self.rows.quotas),
            )
            result = work(changed)
            self.rows = changed
            return result

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on the rows as they are."""
        with self._lock:
            return work(self.rows)


class MemoryJobs(Ledger):
    """A JobClient in memory; rings a RecordingDoorbell unless given another."""

    def __init__(
        self,
        doorbell: Doorbell | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        policy: Policy | None = None,
    ) -> None:
        self._memory = MemoryStorage()
        super().__init__(self._memory, doorbell or RecordingDoorbell(), clock=clock, policy=policy)

    @property
    def rows(self) -> MemoryRows:
        """What is stored now."""
        return self._memory.rows
