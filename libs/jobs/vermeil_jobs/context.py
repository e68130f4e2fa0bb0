"""JobContext: what a job's work sees of the world while it runs.

Reporting is cheap and never blocks: the heartbeat carries the latest progress and new log lines to
the registry once a second. Work asks `check()` between steps, which raises when it is to stop.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from vermeil_artifacts import ArtifactRef
from vermeil_errors import Cancelled

from vermeil_jobs.drain import Drain
from vermeil_jobs.job import Job, LogLine, Progress, Spec, utc_now

_MAX_UNSENT_LINES = 1000
_NO_METRICS: Mapping[str, float] = MappingProxyType({})


class Draining(Exception):  # noqa: N818
    """The worker is told to stop: save what you have and let this pass; the job goes on elsewhere."""


class LeaseLost(Exception):  # noqa: N818
    """Somebody else holds the job now: stop, nothing you do will count."""


class Report(NamedTuple):
    """What the next heartbeat carries."""

    progress: Progress | None
    lines: tuple[LogLine, ...]
    outputs: Mapping[str, ArtifactRef]

    def __bool__(self) -> bool:
        return self.progress is not None or bool(self.lines or self.outputs)


class JobContext:
    """One attempt at one job."""

    def __init__(
        self,
        job: Job,
        workdir: Path,
        drain: Drain | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.job = job
        """The job as it was when it was taken up."""
        self.workdir = workdir
        """A folder of the job's own; what one attempt leaves, the next one finds."""
        self._drain = drain or Drain()
        self._clock = clock
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._lines: deque[LogLine] = deque()
        self._outputs: dict[str, ArtifactRef] = {}
        self._num_dropped = 0
        self._cancel_requested = threading.Event()
        self._lease_lost = threading.Event()

    @property
    def spec(self) -> Spec:
        """The work's specification, packed."""
        return self.job.spec

    def progress(
        self,
        done: int,
        total: int = 0,
        message: str = "",
        metrics: Mapping[str, float] = _NO_METRICS,
        unit: str = "",
    ) -> None:
        """Report how far the work has come; the latest report wins."""
        report = Progress(done, total, unit, message, dict(metrics))
        with self._lock:
            self._progress = report

    def log(self, text: str, level: str = "info") -> None:
        """Write a line into the job's log; "debug", "info", "warning" or "error"."""
        line = LogLine(self._clock(), level, text)
        with self._lock:
            if len(self._lines) == _MAX_UNSENT_LINES:
                self._lines.popleft()
                self._num_dropped += 1
            self._lines.append(line)

    def output(self, role: str, artifact: ArtifactRef) -> None:
        """Show an artifact before the end, such as a log that grows; the latest of a role wins."""
        with self._lock:
            self._outputs[role] = artifact

    def check(self) -> None:
        """Raise Cancelled, Draining or LeaseLost if the work is to stop."""
        if self._lease_lost.is_set():
            raise LeaseLost(f"{self.job.name} is held by another worker now")
        if self._cancel_requested.is_set():
            raise Cancelled(f"{self.job.name} was cancelled")
        if self._drain.started:
            raise Draining(f"the worker of {self.job.name} is stopping")

    def should_stop(self) -> bool:
        """True once `check()` would raise: for work that first saves a checkpoint."""
        return self._lease_lost.is_set() or self._cancel_requested.is_set() or self._drain.started

    @property
    def is_lost(self) -> bool:
        """True once the lease is certainly gone."""
        return self._lease_lost.is_set()

    @property
    def is_cancelled(self) -> bool:
        """True once somebody has asked the job to stop."""
        return self._cancel_requested.is_set()

    def request_cancel(self) -> None:
        """Make `check()` raise Cancelled; the heartbeat calls it, and so may a test."""
        self._cancel_requested.set()

    def lose_lease(self) -> None:
        """Make `check()` raise LeaseLost; the heartbeat calls it."""
        self._lease_lost.set()

    def take_report(self) -> Report:
        """What has been reported since the last call."""
        with self._lock:
            lines = list(self._lines)
            if self._num_dropped:
                text = f"{self._num_dropped} older lines were dropped here: they came too fast"
                lines.insert(0, LogLine(self._clock(), "warning", text))
            report = Report(self._progress, tuple(lines), self._outputs)
            self._progress, self._num_dropped, self._outputs = None, 0, {}
            self._lines.clear()
            return report

    def give_back(self, report: Report) -> None:
        """Keep a report that could not be sent, before what has come since."""
        with self._lock:
            self._progress = self._progress or report.progress
            self._outputs = {**report.outputs, **self._outputs}
            self._lines.extendleft(reversed(report.lines))
            while len(self._lines) > _MAX_UNSENT_LINES:
                self._lines.popleft()
                self._num_dropped += 1
