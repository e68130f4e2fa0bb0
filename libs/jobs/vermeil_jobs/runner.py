"""Runner: one doorbell answered — claim, work under a heartbeat, tell how it ended.

Whatever goes wrong here is safe: without a finish under the current fence nothing has happened, and
the registry hands the job out again.
"""

import os
import socket
import time
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from vermeil_artifacts import used_within
from vermeil_errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    NotFound,
    OutOfSpace,
    StaleFence,
    Unimplemented,
    VermeilError,
    from_exception,
)
from vermeil_rpc.behalf import on_behalf_of
from vermeil_telemetry import bound, get_logger, histogram, span
from vermeil_telemetry import traceparent as trace_context

from vermeil_jobs.client import DEFAULT_LEASE, Claimed, JobClient
from vermeil_jobs.context import Draining, JobContext, LeaseLost
from vermeil_jobs.drain import Drain
from vermeil_jobs.heartbeat import Heartbeat
from vermeil_jobs.job import Cancellation, Failure, Job, JobError, Lease, Outcome
from vermeil_jobs.kind import JobKind
from vermeil_jobs.workdirs import Workdirs

_RETRY_SECONDS = 0.5
_DRAIN_PATIENCE = 10.0
_BUCKETS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0)
_logger = get_logger(__name__)


class Runner:
    """Does jobs of one kind, or of all kinds by name that share its queue; any number at once."""

    def __init__(
        self,
        client: JobClient,
        kind: JobKind[Any, Any],
        home: Path,
        drain: Drain | None = None,
        *,
        heartbeat: timedelta = timedelta(seconds=1),
        lease: timedelta = DEFAULT_LEASE,
        worker: str = "",
        kinds: Mapping[str, JobKind[Any, Any]] | None = None,
    ) -> None:
        self._client = client
        self._kinds = kinds or {kind.name: kind}
        self._drain = drain or Drain()
        self._heartbeat = heartbeat
        self._lease = lease
        self._worker = worker or f"{socket.gethostname()}:{os.getpid()}"
        self._workdirs = Workdirs(home)

    def run(self, name: str) -> Job | None:
        """Take up the job whose turn it is in this one's queue, this one if no other waits.

        The job as it stands afterwards; None if nobody knows.
        """
        if self._drain.started:
            return None
        kinds = tuple(self._kinds)
        try:
            claimed = self._client.claim(name, worker=self._worker, lease=self._lease, kinds=kinds)
        except VermeilError as error:
            _logger.warning("could not claim; the registry will ring again", job=name, error=str(error))
            return None
        job = claimed.job
        if claimed.lease is None:
            if job.state.is_final:
                self._workdirs.remove(name)
            return job
        with (
            bound(job=job.name, request_id=job.request_id),
            trace_context(job.traceparent),
            on_behalf_of(job.owner),
            span(job.kind, job=job.name),
        ):
            return self._attempt(claimed, claimed.lease)

    def _attempt(self, claimed: Claimed, lease: Lease) -> Job | None:
        job, started = claimed.job, time.perf_counter()
        context = JobContext(job, self._workdirs.path(job.name), self._drain)
        _logger.info("took up a job", attempt=job.attempt, fence=lease.fence)
        with Heartbeat(
            self._client, context, lease.fence, interval=self._heartbeat, lease=self._lease
        ) as heartbeat:
            outcome = self._do(context)
            ended = self._tell(context, heartbeat, lease, outcome)
        state = str(ended.state) if ended else "unknown"
        seconds = time.perf_counter() - started
        _job_seconds().labels(kind=job.kind, state=state).observe(seconds)
        _logger.info("put down a job", state=state, seconds=round(seconds, 3))
        if ended is not None and ended.state.is_final:
            self._workdirs.remove(job.name)
            self._workdirs.clean(self._client)
        return ended

    def _do(self, context: JobContext) -> Outcome | Draining | LeaseLost:
        """Do the work; whatever it raises becomes how it ended."""
        kind = self._kinds.get(context.job.kind)
        if kind is None:
            _logger.error("the doorbell of another kind was rung", kind=context.job.kind)
            return Draining("another kind of worker does this job")
        try:
            with self._workdirs.held(context.job.name, context.check), used_within():
                context.check()
                return kind.work(context, kind.unpack_spec(context))
        except (Draining, LeaseLost) as interruption:
            return interruption
        except Exception as error:
            return _failure(context, error)

    def _tell(
        self,
        context: JobContext,
        heartbeat: Heartbeat,
        lease: Lease,
        outcome: Outcome | Draining | LeaseLost,
    ) -> Job | None:
        """Tell the registry, however long it is away; the lease is kept meanwhile."""
        name, give_up = context.job.name, float("inf")
        while not (isinstance(outcome, LeaseLost) or context.is_lost):
            heartbeat.beat(only_reports=True)
            heartbeat.expect_end()
            try:
                if isinstance(outcome, Draining):
                    return self._client.release(name, fence=lease.fence)
                return self._client.finish(name, fence=lease.fence, outcome=outcome)
            except (StaleFence, NotFound) as error:
                _logger.warning(
                    "somebody else has the job now; this attempt counts for nothing", error=str(error)
                )
                return None
            except VermeilError as error:
                # Its database may be full: what the work has made is worth waiting for.
                if not (error.retryable or isinstance(error, DeadlineExceeded | OutOfSpace)):
                    _logger.warning("the registry refuses how the job ended", error=str(error))
                    if isinstance(outcome, Failure | Draining):
                        return None
                    outcome = Failure(_job_error(error))
                    continue
                _logger.warning("the registry is away; trying on", error=str(error))
            if self._drain.started:
                give_up = min(give_up, time.monotonic() + _DRAIN_PATIENCE)
                if time.monotonic() >= give_up:
                    return None
            time.sleep(_RETRY_SECONDS)
        return None


def _failure(context: JobContext, error: Exception) -> Failure | Cancellation:
    if isinstance(error, Cancelled) and context.is_cancelled:
        return Cancellation()
    known = from_exception(error)
    unexpected = isinstance(known, Internal)
    if unexpected:
        _logger.exception("the work broke", exc_info=error)
        context.log("".join(traceback.format_exception(error))[-4000:], "error")
    else:
        _logger.warning("the work failed", error=str(known), reason=known.reason)
    # Unimplemented: an upgrade may be under way, in which the other side follows.
    passing = isinstance(known, DeadlineExceeded | Cancelled | Unimplemented)
    retryable = unexpected or known.retryable or passing
    return Failure(_job_error(known), retryable)


def _job_error(error: VermeilError) -> JobError:
    return JobError(error.reason, str(error), error.violations)


def _job_seconds() -> Any:
    return histogram("job_seconds", "How long an attempt at a job took.", ["kind", "state"], buckets=_BUCKETS)
