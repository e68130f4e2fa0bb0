"""The state machine of a job, as small rules: FROM a state, on an event, TO a state.

Pure: no clock, no storage, no wire. The first rule that applies wins; where none does, nothing may
change. Losing a lease always raises the fence, so a fence that is still current has an owner who
ended it himself or holds it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar, cast

from vermeil_errors import AttemptsExhausted, PredecessorFailed

from vermeil_jobs.job import JobError, JobState

PENDING, RUNNING = JobState.PENDING, JobState.RUNNING
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


@dataclass(frozen=True)
class Standing:
    """Everything about a job that the rules read or change."""

    state: JobState = PENDING
    max_attempts: int = 5
    attempt: int = 0
    """How many times a worker has taken it up, as counted against max_attempts."""
    cancel_requested: bool = False
    num_waiting: int = 0
    """Predecessors that have not succeeded yet."""
    ready_time: datetime | None = None
    """Not to be taken up before; set between attempts."""
    fence: int = 0
    """Grows with every claim and every lost lease."""
    worker: str = ""
    """Who holds the lease, or held it last."""
    lease_end: datetime | None = None
    """Set while RUNNING."""
    ending: str = ""
    """How the holder of the current fence ended its lease; empty while it has not."""
    error: JobError | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None

    def is_ready(self, now: datetime) -> bool:
        """True if a worker may take it up."""
        return self.num_waiting == 0 and (self.ready_time is None or now >= self.ready_time)

    def is_leased(self, now: datetime) -> bool:
        """True while a worker holds it."""
        return self.state is RUNNING and self.lease_end is not None and now < self.lease_end


@dataclass(frozen=True)
class Event:
    """Something that happens to a job."""

    now: datetime


@dataclass(frozen=True)
class Claim(Event):
    """A worker asks for the lease."""

    worker: str
    lease: timedelta


@dataclass(frozen=True)
class Fenced(Event):
    """Something that only the holder of the lease may say."""

    fence: int


@dataclass(frozen=True)
class Heartbeat(Fenced):
    """The worker is alive."""

    lease: timedelta


class Succeed(Fenced):
    """The work is done."""


@dataclass(frozen=True)
class Fail(Fenced):
    """The work failed."""

    error: JobError
    retryable: bool
    delay: timedelta
    """Pause before another attempt."""


class Stop(Fenced):
    """The work stopped because it was asked to."""


class Release(Fenced):
    """The worker gives the job back unharmed."""


class Cancel(Event):
    """Somebody asks the job to stop."""


class Expire(Event):
    """Time has passed."""


@dataclass(frozen=True)
class Forgive(Event):
    """The registry was away and may have missed heartbeats."""

    grace: timedelta


@dataclass(frozen=True)
class PredecessorEnd(Event):
    """A job this one waits for has ended."""

    name: str
    state: JobState
    error: JobError | None = None


_E = TypeVar("_E", bound=Event)
_Change: TypeAlias = Callable[[Standing, _E], Standing | None]


@dataclass(frozen=True)
class Rule:
    """One arrow of the diagram."""

    name: str
    event: type[Event]
    from_state: JobState
    to_state: JobState
    change: Callable[[Standing, Event], Standing | None]
    """The new standing but for its state; None where the rule does not apply."""


RULES: list[Rule] = []


def _rule(event: type[_E], *, FROM: JobState, TO: JobState) -> Callable[[_Change[_E]], _Change[_E]]:
    def add(change: _Change[_E]) -> _Change[_E]:
        general = cast("Callable[[Standing, Event], Standing | None]", change)
        RULES.append(Rule(change.__name__, event, FROM, TO, general))
        return change

    return add


def apply(standing: Standing, event: Event) -> Standing | None:
    """The standing after the event; None if no rule lets it change anything."""
    for rule in RULES:
        if isinstance(event, rule.event) and standing.state is rule.from_state:
            changed = rule.change(standing, event)
            if changed is not None:
                return replace(changed, state=rule.to_state)
    return None


@_rule(Claim, FROM=PENDING, TO=RUNNING)
def take_up(standing: Standing, event: Claim) -> Standing | None:
    """A worker takes up a job that is ready."""
    return _leased(standing, event) if standing.is_ready(event.now) else None


@_rule(Claim, FROM=RUNNING, TO=RUNNING)
def take_over(standing: Standing, event: Claim) -> Standing | None:
    """A worker takes over a job whose worker has vanished."""
    if standing.is_leased(event.now) or standing.cancel_requested or _is_exhausted(standing):
        return None
    return _leased(standing, event)


@_rule(Heartbeat, FROM=RUNNING, TO=RUNNING)
def stay_alive(standing: Standing, event: Heartbeat) -> Standing | None:
    """The holder extends its lease, even one that has ended while nobody took over."""
    return replace(standing, lease_end=event.now + event.lease) if _holds(standing, event) else None


@_rule(Succeed, FROM=RUNNING, TO=SUCCEEDED)
def succeed(standing: Standing, event: Succeed) -> Standing | None:
    """The work is done."""
    return _ended(standing, event, "success") if _holds(standing, event) else None


@_rule(Fail, FROM=RUNNING, TO=CANCELLED)
def fail_while_stopping(standing: Standing, event: Fail) -> Standing | None:
    """Nobody wants another attempt of what was to stop."""
    if not (_holds(standing, event) and event.retryable and standing.cancel_requested):
        return None
    return _ended(standing, event, "failure")


@_rule(Fail, FROM=RUNNING, TO=FAILED)
def fail_for_good(standing: Standing, event: Fail) -> Standing | None:
    """Another attempt would not help."""
    if not _holds(standing, event) or event.retryable:
        return None
    return _ended(standing, event, "failure", event.error)


@_rule(Fail, FROM=RUNNING, TO=PENDING)
def fail_and_retry(standing: Standing, event: Fail) -> Standing | None:
    """Another attempt may help, after a pause."""
    if not _holds(standing, event) or _is_exhausted(standing):
        return None
    return replace(standing, lease_end=None, ending="failure", ready_time=event.now + event.delay)


@_rule(Fail, FROM=RUNNING, TO=FAILED)
def fail_the_last_time(standing: Standing, event: Fail) -> Standing | None:
    """The attempts are used up; the last error stays readable."""
    if not _holds(standing, event):
        return None
    message = f"given up after {standing.attempt} attempts; the last one: {event.error.message}"
    error = JobError(AttemptsExhausted.reason, message, event.error.violations)
    return _ended(standing, event, "failure", error)


@_rule(Stop, FROM=RUNNING, TO=CANCELLED)
def stop(standing: Standing, event: Stop) -> Standing | None:
    """The work has stopped as asked."""
    if not (_holds(standing, event) and standing.cancel_requested):
        return None
    return _ended(standing, event, "cancellation")


@_rule(Release, FROM=RUNNING, TO=CANCELLED)
def release_and_stop(standing: Standing, event: Release) -> Standing | None:
    """What was to stop anyway is not handed on."""
    if not (_holds(standing, event) and standing.cancel_requested):
        return None
    return _ended(standing, event, "release")


@_rule(Release, FROM=RUNNING, TO=PENDING)
def release(standing: Standing, event: Release) -> Standing | None:
    """The job goes back as it came; the attempt is not counted."""
    if not _holds(standing, event):
        return None
    return replace(standing, lease_end=None, ending="release", attempt=standing.attempt - 1, ready_time=None)


@_rule(Cancel, FROM=PENDING, TO=CANCELLED)
def cancel_at_once(standing: Standing, event: Cancel) -> Standing | None:
    """Nobody works on it."""
    return replace(standing, cancel_requested=True, end_time=event.now)


@_rule(Cancel, FROM=RUNNING, TO=CANCELLED)
def cancel_the_abandoned(standing: Standing, event: Cancel) -> Standing | None:
    """Its worker has vanished."""
    return (
        None if standing.is_leased(event.now) else _cut_off(replace(standing, cancel_requested=True), event)
    )


@_rule(Cancel, FROM=RUNNING, TO=RUNNING)
def ask_to_stop(standing: Standing, event: Cancel) -> Standing | None:
    """The worker hears of it with its next heartbeat."""
    return replace(standing, cancel_requested=True) if standing.is_leased(event.now) else None


@_rule(Expire, FROM=RUNNING, TO=CANCELLED)
def expire_while_stopping(standing: Standing, event: Expire) -> Standing | None:
    """Its worker vanished before it could say that it had stopped."""
    if standing.is_leased(event.now) or not standing.cancel_requested:
        return None
    return _cut_off(standing, event)


@_rule(Expire, FROM=RUNNING, TO=FAILED)
def expire_the_last_time(standing: Standing, event: Expire) -> Standing | None:
    """Its worker vanished, and the attempts are used up: parked, lest it kills workers for ever."""
    if standing.is_leased(event.now) or not _is_exhausted(standing):
        return None
    message = f"given up after {standing.attempt} attempts; in the last one worker {standing.worker} vanished"
    return replace(_cut_off(standing, event), error=JobError(AttemptsExhausted.reason, message))


@_rule(Forgive, FROM=RUNNING, TO=RUNNING)
def wait_for_the_unheard(standing: Standing, event: Forgive) -> Standing | None:
    """Its worker gets the time to be heard again before anybody takes over."""
    end = event.now + event.grace
    too_late = standing.lease_end is not None and standing.lease_end >= end
    return None if too_late else replace(standing, lease_end=end)


@_rule(PredecessorEnd, FROM=PENDING, TO=PENDING)
def wait_for_one_less(standing: Standing, event: PredecessorEnd) -> Standing | None:
    """A predecessor has succeeded."""
    return replace(standing, num_waiting=standing.num_waiting - 1) if event.state is SUCCEEDED else None


@_rule(PredecessorEnd, FROM=PENDING, TO=FAILED)
def fail_with_predecessor(standing: Standing, event: PredecessorEnd) -> Standing | None:
    """What it needs will never be there."""
    if event.state is not FAILED:
        return None
    cause = f": {event.error.reason}: {event.error.message}" if event.error else ""
    error = JobError(PredecessorFailed.reason, f"{event.name}, which must succeed first, has failed{cause}")
    return replace(standing, error=error, end_time=event.now)


@_rule(PredecessorEnd, FROM=PENDING, TO=CANCELLED)
def cancel_with_predecessor(standing: Standing, event: PredecessorEnd) -> Standing | None:
    """Who cancels a job cancels what follows from it."""
    return replace(standing, end_time=event.now) if event.state is CANCELLED else None


def _holds(standing: Standing, event: Fenced) -> bool:
    return event.fence == standing.fence


def _is_exhausted(standing: Standing) -> bool:
    return standing.attempt >= standing.max_attempts


def _leased(standing: Standing, event: Claim) -> Standing:
    return replace(
        standing,
        attempt=standing.attempt + 1,
        fence=standing.fence + 1,
        worker=event.worker,
        lease_end=event.now + event.lease,
        ready_time=None,
        ending="",
        start_time=standing.start_time or event.now,
    )


def _ended(standing: Standing, event: Event, ending: str, error: JobError | None = None) -> Standing:
    return replace(standing, lease_end=None, ending=ending, error=error, end_time=event.now)


def _cut_off(standing: Standing, event: Event) -> Standing:
    return replace(_ended(standing, event, ""), fence=standing.fence + 1)
