"""Quotas: how many jobs an owner may have at once, and whether one more fits.

Who counts holds the owner's limits until its transaction ends, so that of several registries only one
counts at a time. Where there is no limit nothing is counted and nobody waits.
"""

from vermeil_errors import QuotaExceeded

from vermeil_jobs.job import JobState
from vermeil_jobs.limits import Limits, Quota
from vermeil_jobs.storage import Transaction


def quota_of(rows: Transaction, owner: str, default: Limits) -> Quota:
    """An owner's quota as it stands."""
    own = rows.limits(owner)
    counts = (rows.count(owner, state) for state in (JobState.RUNNING, JobState.PENDING))
    return Quota(owner, own or default, own is None, *counts)


def check_may_wait(rows: Transaction, owner: str, default: Limits) -> None:
    """Refuse a job of an owner that has as many waiting as it may."""
    if not _limits(rows, owner, default).max_waiting:
        return
    most = _limits(rows, owner, default, hold=True).max_waiting
    num_waiting = rows.count(owner, JobState.PENDING) if most else 0
    if most and num_waiting >= most:
        raise QuotaExceeded(
            f"{owner} has {num_waiting} jobs waiting, and may have {most}",
            fix=f"wait until some have begun, cancel some, or have an admin raise the limit: "
            f"vermeil quotas set {owner.removeprefix('owners/')} --waiting {2 * most}",
            metadata={"owner": owner, "max_waiting": str(most)},
        )


def may_run(rows: Transaction, owner: str, default: Limits) -> bool:
    """Whether one more job of the owner may be taken up."""
    if not _limits(rows, owner, default).max_running:
        return True
    most = _limits(rows, owner, default, hold=True).max_running
    return not most or rows.count(owner, JobState.RUNNING) < most


def is_bounded(rows: Transaction, owner: str, default: Limits) -> bool:
    """Whether jobs of the owner may have to wait for each other's end."""
    return _limits(rows, owner, default).max_running > 0


def _limits(rows: Transaction, owner: str, default: Limits, *, hold: bool = False) -> Limits:
    return rows.limits(owner, hold=hold) or default
