"""Ledger: the one place where jobs change. Rules decide, a storage keeps, a doorbell tells.

Knows no SQL and no wire. Rings and notifications happen after the commit, so nobody hears of what
did not happen; a broker that is down costs time, never a job.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from threading import Event as Flag
from time import monotonic
from typing import TypeVar

from vermeil_artifacts import ArtifactRef
from vermeil_errors import (
    DeadlineExceeded,
    InvalidInput,
    OutOfSpace,
    Unavailable,
    VermeilError,
)
from vermeil_telemetry import get_logger

from vermeil_jobs.bookkeeper import Bookkeeper, Effects, Policy, found
from vermeil_jobs.changes import Changes
from vermeil_jobs.client import (
    DEFAULT_LEASE,
    DEFAULT_PAGE_SIZE,
    NO_OUTPUTS,
    Claimed,
    JobPage,
    LogPage,
    Pulse,
)
from vermeil_jobs.doorbell import Doorbell
from vermeil_jobs.job import (
    Job,
    JobState,
    LogLine,
    NewJob,
    Outcome,
    Progress,
    utc_now,
)
from vermeil_jobs.limits import Limits, Quota
from vermeil_jobs.names import check_kind, check_owner, job_id
from vermeil_jobs.pages import check_page_size, make_token, read_number, read_text
from vermeil_jobs.quota import quota_of
from vermeil_jobs.storage import Record, Storage, Transaction

T = TypeVar("T")
_SWEEP_LIMIT = 200
_logger = get_logger(__name__)


class Ledger:
    """A JobClient that is the truth."""

    def __init__(
        self,
        storage: Storage,
        doorbell: Doorbell,
        *,
        clock: Callable[[], datetime] = utc_now,
        policy: Policy | None = None,
    ) -> None:
        self.changes = Changes()
        self._storage = storage
        self._doorbell = doorbell
        self._clock = clock
        self._policy = policy or Policy()
        self._storage_was_away = False
        self._passed_over: set[str] = set()
        """Names of jobs that could not be looked after, each told of once."""

    def create(self, new: NewJob) -> Job:
        """Record a job and ring its queue; the same request id gives the same job."""
        return self._write(lambda work: work.create(new)).job

    def get(self, name: str) -> Job:
        """One job."""
        job_id(name)
        return self._storage.read(lambda rows: found(rows, name)).job

    def list_jobs(
        self,
        *,
        page_size: int = DEFAULT_PAGE_SIZE,
        page_token: str = "",
        state: JobState | None = None,
        kind: str = "",
    ) -> JobPage:
        """A page of jobs, newest first."""
        scope = f"jobs {state or ''} {kind}"
        before, limit = read_number(page_token, scope), check_page_size(page_size)
        records = self._storage.read(
            lambda rows: rows.page(before=before, limit=limit + 1, state=state, kind=kind)
        )
        more = len(records) > limit
        token = make_token(scope, records[limit - 1].number) if more else ""
        return JobPage(tuple(record.job for record in records[:limit]), token)

    def cancel(self, name: str) -> Job:
        """Ask a job to stop; a job that is over stays as it is."""
        job_id(name)
        return self._write(lambda work: work.cancel(name)).job

    def watch(self, name: str, *, timeout: float | None = None) -> Iterator[Job]:
        """The job now and after every change, until its final state."""
        end = None if timeout is None else monotonic() + timeout
        woken, last = Flag(), None
        with self.changes.subscribed(name, woken.set):
            while True:
                woken.clear()
                job = self.get(name)
                if job != last:
                    yield job
                    last = job
                if job.state.is_final:
                    return
                if end is not None and monotonic() >= end:
                    raise DeadlineExceeded(f"{name} is still {job.state} after {timeout} s")
                pause = self._policy.watch_poll
                woken.wait(pause if end is None else max(0.0, min(pause, end - monotonic())))

    def list_logs(self, name: str, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str = "") -> LogPage:
        """A page of a job's log lines, oldest first."""
        scope = f"{name} logs"
        after, limit = read_number(page_token, scope) or 0, check_page_size(page_size)
        job_id(name)

        def page(rows: Transaction) -> list[tuple[int, LogLine]]:
            found(rows, name)
            return rows.lines(name, after=after, limit=limit + 1)

        lines = self._storage.read(page)
        token = make_token(scope, lines[limit - 1][0]) if len(lines) > limit else ""
        return LogPage(tuple(line for _, line in lines[:limit]), token)

    def claim(
        self, name: str, *, worker: str, lease: timedelta = DEFAULT_LEASE, kinds: Collection[str] = ()
    ) -> Claimed:
        """The lease of a pending job, or of a running one whose lease has ended; see JobClient."""
        job_id(name)
        _check_lease(lease)
        for kind in kinds:
            check_kind(kind)
        self._forgive_absence()
        return self._write(lambda work: work.claim(name, worker, lease, kinds))

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
        job_id(name)
        _check_lease(lease)
        return self._write(lambda work: work.heartbeat(name, fence, progress, lines, outputs, lease))

    def finish(self, name: str, *, fence: int, outcome: Outcome) -> Job:
        """End a job under its fence; sent twice, it is answered with the same job."""
        job_id(name)
        return self._write(lambda work: work.finish(name, fence, outcome)).job

    def release(self, name: str, *, fence: int) -> Job:
        """Give a job back unharmed; the attempt is not counted."""
        job_id(name)
        return self._write(lambda work: work.release(name, fence)).job

    def quota(self, owner: str) -> Quota:
        """What an owner may have at once, and has."""
        check_owner(owner, "owner")
        return self._storage.read(lambda rows: quota_of(rows, owner, self._policy.limits))

    def list_quotas(
        self, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str = ""
    ) -> tuple[list[Quota], str]:
        """A page of the quotas of all who have jobs that are not over, or limits of their own, by name."""
        after, limit = read_text(page_token, "quotas") or "", check_page_size(page_size)

        def page(rows: Transaction) -> list[Quota]:
            owners = rows.owners(after=after, limit=limit + 1)
            return [quota_of(rows, owner, self._policy.limits) for owner in owners]

        quotas = self._storage.read(page)
        token = make_token("quotas", quotas[limit - 1].owner) if len(quotas) > limit else ""
        return quotas[:limit], token

    def lengths(self) -> dict[tuple[str, str], int]:
        """How long the queues are, by queue and "running", "ready" or "held" (by jobs that come first)."""
        return self._storage.read(lambda rows: rows.lengths())

    def set_quota(self, owner: str, limits: Limits | None) -> Quota:
        """Give an owner limits of its own, or none; what runs and waits beyond them stays."""
        check_owner(owner, "owner")

        def work(rows: Transaction) -> Quota:
            rows.ring_soon(owner, self._clock())  # jobs before limits, as all who hold both
            rows.set_limits(owner, limits)
            return quota_of(rows, owner, self._policy.limits)

        return self._storage.write(work)

    def forgive(self, now: datetime | None = None) -> None:
        """Call after an absence: leases may have ended only because nobody was there to hear heartbeats.

        `now` where the clock is about to jump there, which ends leases as wrongly.
        """
        page = self.list_jobs(state=JobState.RUNNING)
        while page.jobs:
            for job in page.jobs:
                self._write(partial(Bookkeeper.forgive, name=job.name), now)
            if not page.next_page_token:
                return
            page = self.list_jobs(state=JobState.RUNNING, page_token=page.next_page_token)

    def recall(self) -> None:
        """Call once rings are heard again: who was rung for in vain is due at once."""
        for state in (JobState.PENDING, JobState.RUNNING):
            before: int | None = None
            while records := self._storage.read(partial(_page, before=before, state=state)):
                for record in records:
                    if record.num_rings:
                        self._write(partial(Bookkeeper.recall, name=record.name))
                before = records[-1].number

    def sweep(self) -> int:
        """Look at the jobs that are due: ring again, or end what nobody will; returns how many.

        One that cannot be looked after, such as a row of a newer version, is told once and keeps no other
        waiting. Once the storage is back after an absence, or takes writes again, workers get the time to be
        heard first.
        """
        try:
            self._forgive_absence()
            limit = _SWEEP_LIMIT + len(self._passed_over)  # which stay due, before all others
            due = self._storage.read(lambda rows: rows.due(self._clock(), limit))
            for name in due:
                self._look_after(name)
        except (Unavailable, OutOfSpace):
            self._storage_was_away = True
            raise
        return len(due)

    def _forgive_absence(self) -> None:
        """Before anybody's lease is taken to have ended."""
        if self._storage_was_away:
            self.forgive()
            self._storage_was_away = False

    def _look_after(self, name: str) -> None:
        try:
            self._write(partial(Bookkeeper.look_after, name=name))
        except (Unavailable, OutOfSpace):
            raise
        except VermeilError as error:
            if name not in self._passed_over:
                self._passed_over.add(name)
                _logger.warning("cannot look after a job", job=name, error=str(error))
        else:
            self._passed_over.discard(name)

    def _write(self, work: Callable[[Bookkeeper], T], now: datetime | None = None) -> T:
        def attempt(rows: Transaction) -> tuple[T, Effects]:
            effects = Effects()
            return work(Bookkeeper(rows, effects, now or self._clock(), self._policy)), effects

        result, effects = self._storage.write(attempt)
        for name in dict.fromkeys(effects.changed):
            self.changes.notify(name)
        for job in effects.ready:
            try:
                self._doorbell.ring(job)
            except VermeilError as error:
                _logger.warning("could not ring; the sweeper will", job=job.name, error=str(error))
        return result


def _page(rows: Transaction, before: int | None, state: JobState) -> list[Record]:
    return rows.page(before=before, limit=_SWEEP_LIMIT, state=state, kind="")


def _check_lease(lease: timedelta) -> None:
    if not timedelta(seconds=1) <= lease <= timedelta(hours=1):
        raise InvalidInput.for_field(
            "lease_duration", f"{lease.total_seconds()} s", "is out of range", "use 1 s to 1 h"
        )
