"""Bookkeeper: what one transaction on jobs does, from the rules' decision to the saved rows.

Causes nothing outside the rows: whom to ring and whom to wake is collected in Effects, because a
transaction may run again or not at all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vermeil_artifacts import ArtifactRef
from vermeil_errors import AlreadyExists, Conflict, NotFound, StaleFence

from vermeil_jobs import states
from vermeil_jobs.client import Claimed, Pulse
from vermeil_jobs.job import (
    Cancellation,
    Failure,
    Job,
    JobOutcome,
    JsonValue,
    Lease,
    LogLine,
    NewJob,
    Outcome,
    Progress,
)
from vermeil_jobs.limits import Limits
from vermeil_jobs.names import new_job_name
from vermeil_jobs.quota import check_may_wait, is_bounded, may_run
from vermeil_jobs.remarks import remark
from vermeil_jobs.states import Standing
from vermeil_jobs.storage import Record, Transaction
from vermeil_jobs.turns import draw_turn


@dataclass(frozen=True)
class Policy:
    """How patient the ledger is."""

    retry_delay: timedelta = timedelta(seconds=1)
    """Pause before a second attempt; four times as long with each, so that five attempts, the default,
    outlast a store that is away for a minute."""
    retry_delay_limit: timedelta = timedelta(minutes=1)
    """Longest pause between attempts."""
    ring_patience: timedelta = timedelta(seconds=1)
    """How long a rung job may stay unclaimed before it is rung again; doubles with each ring."""
    ring_patience_limit: timedelta = timedelta(minutes=5)
    """Longest time between two rings."""
    grace: timedelta = timedelta(seconds=5)
    """Time that workers get to be heard again after the ledger was away."""
    max_lines: int = 10_000
    """Log lines kept of one job; older ones go."""
    watch_poll: float = 1.0
    """Seconds after which a watcher looks for itself, for changes made by other processes."""
    limits: Limits = field(default_factory=Limits)
    """Of owners who have none of their own."""


@dataclass
class Effects:
    """What to tell the world once the transaction is committed."""

    changed: list[str] = field(default_factory=list)
    ready: list[Job] = field(default_factory=list)


@dataclass
class Bookkeeper:
    """What one transaction does; effects are collected, not caused."""

    rows: Transaction
    effects: Effects
    now: datetime
    policy: Policy

    def create(self, new: NewJob) -> Record:
        known = self.rows.find_request(new.owner, new.request_id)
        if known is not None:
            if known.new.fingerprint() != new.fingerprint():
                raise AlreadyExists(
                    f"request {new.request_id} has already made {known.name}, from another specification",
                    field="request_id",
                    fix="choose a new request_id for new work",
                )
            return known
        standing = Standing(max_attempts=new.max_attempts, num_waiting=len(new.after))
        for name in new.after:
            predecessor = self.rows.find(name, hold=True)
            if predecessor is None:
                raise NotFound(
                    f"{name} does not exist", field="after", fix="name jobs that were created before"
                )
            before = predecessor.standing
            end = states.PredecessorEnd(self.now, name, before.state, before.error)
            standing = states.apply(standing, end) or standing
        if standing.state is states.PENDING:
            check_may_wait(self.rows, new.owner, self.policy.limits)
        turn = draw_turn(self.rows, new)
        record = Record(new_job_name(self.now), new, self.now, standing, turn=turn)
        record = self.rows.insert(self._scheduled(record))
        if standing.state is states.PENDING and standing.is_ready(self.now):
            self.effects.ready.append(record.job)
        return record

    def cancel(self, name: str) -> Record:
        return self._apply(found(self.rows, name), states.Cancel(self.now))

    def claim(self, name: str, worker: str, lease: timedelta, kinds: Collection[str]) -> Claimed:
        rung = found(self.rows, name, hold=not kinds)
        abandoned = rung.standing.state is states.RUNNING and not rung.standing.is_leased(self.now)
        if not kinds or (abandoned and rung.new.kind in kinds):
            return self._take(rung, worker, lease)
        full = self.rows.full(self.policy.limits)
        while True:
            record = self.rows.waiting(rung.new.queue, self.now, kinds=kinds, without=full, hold=True)
            if record is None:
                return Claimed(rung.job, None)
            claimed = self._take(record, worker, lease)
            if claimed.lease is not None:
                return claimed
            full = [*full, record.new.owner]

    def _take(self, record: Record, worker: str, lease: timedelta) -> Claimed:
        record = self._apply(record, states.Expire(self.now))
        standing = record.standing
        if standing.state is states.PENDING and not may_run(self.rows, record.new.owner, self.policy.limits):
            return Claimed(record.job, None)
        record = self._apply(record, states.Claim(self.now, worker, lease))
        return Claimed(record.job, _lease(record) if record.standing.fence > standing.fence else None)

    def heartbeat(
        self,
        name: str,
        fence: int,
        progress: Progress | None,
        lines: Sequence[LogLine],
        outputs: Mapping[str, ArtifactRef],
        lease: timedelta,
    ) -> Pulse:
        record = found(self.rows, name)
        _check_held(record, fence)
        if lines:
            self.rows.add_lines(name, lines, self.policy.max_lines)
        if progress is not None and progress != record.progress:
            record = replace(record, progress=progress)
            self.effects.changed.append(name)
        if outputs:
            record = replace(record, outputs={**record.outputs, **outputs})
            self.effects.changed.append(name)
        record = self._apply(record, states.Heartbeat(self.now, fence, lease))
        return Pulse(_lease(record), record.standing.cancel_requested)

    def finish(self, name: str, fence: int, outcome: Outcome) -> Record:
        record = found(self.rows, name)
        event: states.Fenced
        match outcome:
            case JobOutcome():
                ending, event = "success", states.Succeed(self.now, fence)
            case Failure(error, retryable):
                delay = self._retry_delay(record.standing.attempt)
                ending, event = "failure", states.Fail(self.now, fence, error, retryable, delay)
            case Cancellation():
                ending, event = "cancellation", states.Stop(self.now, fence)
        return self._end(record, event, ending, outcome)

    def release(self, name: str, fence: int) -> Record:
        return self._end(found(self.rows, name), states.Release(self.now, fence), "release", None)

    def forgive(self, name: str) -> None:
        self._apply(found(self.rows, name), states.Forgive(self.now, self.policy.grace))

    def recall(self, name: str) -> None:
        record = found(self.rows, name, hold=True)
        if record.num_rings:
            self.rows.save(replace(record, num_rings=0, ring_time=self.now))

    def look_after(self, name: str) -> None:
        record = found(self.rows, name, hold=True)
        if record.ring_time is None or record.ring_time > self.now:
            return
        record = self._apply(record, states.Expire(self.now))
        if record.standing.state.is_final:
            return
        patience = _grown(self.policy.ring_patience, 2, record.num_rings, self.policy.ring_patience_limit)
        record = replace(record, num_rings=record.num_rings + 1, ring_time=self.now + patience)
        self.rows.save(record)
        self.effects.ready.append(record.job)

    def _end(self, record: Record, event: states.Fenced, ending: str, outcome: Outcome | None) -> Record:
        standing = record.standing
        if (
            standing.state is not states.RUNNING
            and standing.fence == event.fence
            and standing.ending == ending
        ):
            return record
        _check_held(record, event.fence)
        if isinstance(outcome, Cancellation) and not standing.cancel_requested:
            raise Conflict(
                f"nobody has asked {record.name} to stop", fix="finish it with a success or a failure"
            )
        if isinstance(outcome, JobOutcome):
            record = self._with_outcome(record, outcome)
        return self._apply(record, event)

    def _with_outcome(self, record: Record, outcome: JobOutcome) -> Record:
        for ref in outcome.outputs.values():
            self.rows.add_artifact(ref, record.name, self.now)
        result: dict[str, JsonValue] = dict(outcome.result)
        for key, versions in (
            ("dataset_version", outcome.dataset_versions),
            ("model_version", outcome.model_versions),
        ):
            names = [self.rows.add_version(version, record.name, self.now) for version in versions]
            if names:
                result[key] = names[0]
            if len(names) > 1:
                result[f"{key}s"] = names
        return replace(record, outputs=dict(outcome.outputs), result=result)

    def _apply(self, record: Record, event: states.Event) -> Record:
        """Let the rules decide; save what changed and tell those who wait."""
        before, after = record.standing, states.apply(record.standing, event)
        if after is None:
            return record
        record = self._scheduled(record.stand(after))
        self.rows.save(record)
        text = remark(before, after, event)
        if text:
            self.rows.add_lines(
                record.name, [LogLine(self.now, text.level, text.text)], self.policy.max_lines
            )
        if not isinstance(event, states.Heartbeat):
            self.effects.changed.append(record.name)
        if after.state is states.PENDING and after.is_ready(self.now):
            self.effects.ready.append(record.job)
        if before.state is states.RUNNING and after.state is not states.RUNNING:
            self._offer_place(record.new.owner)
        if after.state.is_final:
            end = states.PredecessorEnd(self.now, record.name, after.state, after.error)
            for name in self.rows.successors(record.name):
                self._apply(found(self.rows, name, hold=True), end)
        return record

    def _offer_place(self, owner: str) -> None:
        """Ring for those of the owner's jobs that may have waited for one of them to end."""
        if not is_bounded(self.rows, owner, self.policy.limits):
            return
        for queue in self.rows.queues(owner):
            record = self.rows.waiting(queue, self.now, owner=owner)
            if record is not None:
                self.effects.ready.append(record.job)

    def _scheduled(self, record: Record) -> Record:
        standing = record.standing
        ring_time = None
        if standing.state is states.RUNNING:
            ring_time = standing.lease_end
        elif standing.state is states.PENDING and standing.num_waiting == 0:
            ring_time = standing.ready_time or self.now + self.policy.ring_patience
        return replace(record, ring_time=ring_time, num_rings=0)

    def _retry_delay(self, attempt: int) -> timedelta:
        return _grown(self.policy.retry_delay, 4, attempt - 1, self.policy.retry_delay_limit)


def _grown(first: timedelta, factor: int, times: int, limit: timedelta) -> timedelta:
    grown: timedelta = first * factor ** min(max(times, 0), 15)
    return min(limit, grown)


def found(rows: Transaction, name: str, *, hold: bool = False) -> Record:
    record = rows.find(name, hold=hold)
    if record is None:
        raise NotFound(f"{name} does not exist", fix="list the jobs to see their names")
    return record


def _check_held(record: Record, fence: int) -> None:
    standing = record.standing
    if standing.state is not states.RUNNING or standing.fence != fence:
        now_held = f"is now {standing.state} under fence {standing.fence}"
        raise StaleFence(
            f"fence {fence} no longer holds {record.name}, which {now_held}", fix="stop the work"
        )


def _lease(record: Record) -> Lease:
    standing = record.standing
    if standing.lease_end is None:
        raise AssertionError(f"{record.name} has no lease while {standing.state}")
    return Lease(standing.fence, standing.worker, standing.lease_end)
