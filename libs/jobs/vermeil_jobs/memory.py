"""MemoryJobs: the whole ledger over dictionaries. A fake for tests that lies about nothing.

Jobs, versions and artifacts are plain attributes of `rows`, for a test to look at.
"""

import copy
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from vermeil_artifacts import ArtifactRef

from vermeil_jobs.bookkeeper import Policy
from vermeil_jobs.doorbell import Doorbell, RecordingDoorbell
from vermeil_jobs.job import JobState, LogLine, NewDatasetVersion, NewModelVersion, utc_now
from vermeil_jobs.ledger import Ledger
from vermeil_jobs.names import version_name
from vermeil_jobs.storage import Record, Transaction, unseen

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
