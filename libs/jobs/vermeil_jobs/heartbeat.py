"""Heartbeat: a thread that keeps a job's lease and carries its reports.

A registry that is away stops nothing: the lease may have ended meanwhile, but only the registry can
give it to somebody else, and it says so (StaleFence) once it is back.
"""

import contextvars
import threading
from datetime import timedelta
from types import TracebackType
from typing import Self

from vermeil_errors import InvalidInput, NotFound, StaleFence, VermeilError
from vermeil_telemetry import get_logger

from vermeil_jobs.client import DEFAULT_LEASE, JobClient
from vermeil_jobs.context import JobContext

_logger = get_logger(__name__)


class Heartbeat:
    """Beats while the `with` block runs."""

    def __init__(
        self,
        client: JobClient,
        context: JobContext,
        fence: int,
        *,
        interval: timedelta = timedelta(seconds=1),
        lease: timedelta = DEFAULT_LEASE,
    ) -> None:
        self._client = client
        self._context = context
        self._fence = fence
        self._interval = interval.total_seconds()
        self._lease = lease
        self._stopped = threading.Event()
        self._is_ending = False
        self._beating = threading.Lock()
        variables = contextvars.copy_context()
        self._thread = threading.Thread(
            target=variables.run, args=(self._run,), name=f"heartbeat {context.job.name}", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()

    def beat(self, *, only_reports: bool = False) -> None:
        """Beat once now; with `only_reports`, not unless there is something to say."""
        with self._beating:
            report = self._context.take_report()
            if only_reports and not report:
                return
            try:
                pulse = self._client.heartbeat(
                    self._context.job.name,
                    fence=self._fence,
                    progress=report.progress,
                    lines=report.lines,
                    outputs=report.outputs,
                    lease=self._lease,
                )
            except (StaleFence, NotFound) as error:
                if not self._is_ending:
                    _logger.warning("the lease is lost", error=str(error))
                    self._context.lose_lease()
                    self._stopped.set()  # it does not come back, however long the work takes to notice
            except InvalidInput as error:
                _logger.warning("the registry refuses a report; it is dropped", error=str(error))
            except VermeilError as error:
                self._context.give_back(report)
                _logger.warning("no heartbeat; trying on", error=str(error))
            else:
                if pulse.cancel_requested:
                    self._context.request_cancel()

    def expect_end(self) -> None:
        """From now on a lease that is gone is no news: the job is being ended, which will tell."""
        self._is_ending = True

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self.beat()
            except Exception:
                _logger.exception("a heartbeat broke; trying on")
