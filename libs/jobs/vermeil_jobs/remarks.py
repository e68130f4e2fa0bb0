"""Remarks: what the ledger itself writes into a job's log, so that its story can be read there."""

from typing import NamedTuple

from vermeil_jobs import states
from vermeil_jobs.states import Event, Standing


class Remark(NamedTuple):
    """A line for people."""

    level: str
    text: str


def remark(before: Standing, after: Standing, event: Event) -> Remark | None:
    """What is worth saying about a change; None for what the job's state already says."""
    attempt = f"attempt {before.attempt} of {before.max_attempts}"
    match event:
        case states.Claim(worker=worker) if before.state is states.RUNNING:
            return Remark("warning", f"worker {before.worker} vanished in {attempt}; {worker} takes over")
        case states.Fail(error=error) if after.state is states.PENDING:
            pause = event.delay.total_seconds()
            return Remark("warning", f"{attempt} failed: {error.message}; trying again in {pause:g} s")
        case states.Fail(error=error):
            return Remark("error", f"{attempt} failed: {error.message}")
        case states.Release() if after.state is states.PENDING:
            return Remark("info", f"worker {before.worker} was told to stop and gave the job back")
        case states.Expire() if after.error is not None:
            return Remark("error", after.error.message)
        case _:
            return None
