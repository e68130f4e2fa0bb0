"""Sweeper: a thread that rings doorbells and, every second, looks for what was forgotten.

Requests never wait for the broker: they leave their ring here. While the broker is away rings are
dropped, because the rows know whom to ring for; the next look finds them.
"""

import queue
import threading
import time
from collections.abc import Callable

from vermeil_errors import VermeilError
from vermeil_jobs import Doorbell, Job
from vermeil_telemetry import get_logger

_MAX_WAITING = 10_000
_logger = get_logger(__name__)


class Sweeper:
    """A Doorbell that rings another one from its own thread."""

    def __init__(self, doorbell: Doorbell, *, interval: float = 1.0) -> None:
        self._doorbell = doorbell
        self._interval = interval
        self._waiting: queue.Queue[Job | None] = queue.Queue(_MAX_WAITING)
        self._thread: threading.Thread | None = None

    def ring(self, job: Job) -> None:
        """Have the job's queue rung in a moment."""
        try:
            self._waiting.put_nowait(job)
        except queue.Full:
            _logger.warning("too many rings at once; the sweeper will find this one", job=job.name)

    def start(self, sweep: Callable[[], int]) -> None:
        """Ring from now on, and call `sweep` every interval."""
        self._thread = threading.Thread(target=self._run, args=(sweep,), name="registry sweeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ring what is waiting, then end."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self, sweep: Callable[[], int]) -> None:
        next_sweep = time.monotonic()
        while True:
            try:
                job = self._waiting.get(timeout=max(0.0, next_sweep - time.monotonic()))
            except queue.Empty:
                _look(sweep)
                next_sweep = time.monotonic() + self._interval
                continue
            if job is None:
                return
            self._ring(job)
            if time.monotonic() >= next_sweep:
                _look(sweep)
                next_sweep = time.monotonic() + self._interval

    def _ring(self, job: Job) -> None:
        try:
            self._doorbell.ring(job)
        except VermeilError as error:
            _logger.warning("the doorbell is broken; ringing again later", job=job.name, error=str(error))
            self._forget_waiting()
        except Exception:
            _logger.exception("the doorbell broke in a new way; ringing again later", job=job.name)
            self._forget_waiting()

    def _forget_waiting(self) -> None:
        """Drop rings that would fail as slowly; keep the word to stop."""
        stopping = False
        while not self._waiting.empty():
            stopping |= self._waiting.get_nowait() is None
        if stopping:
            self._waiting.put(None)


def _look(sweep: Callable[[], int]) -> None:
    try:
        sweep()
    except Exception:
        _logger.exception("the sweep failed; trying again")
