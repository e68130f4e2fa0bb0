"""Sweeper: a thread that rings doorbells and, every second, looks for what was forgotten.

Requests never wait for the broker: they leave their ring here. While the broker is away rings are
dropped, because the rows know whom to ring for; the next look finds them. The last that failed is tried
again until it is heard, without asking the database; then all that wait are recalled.
"""

import queue
import threading
import time
from collections.abc import Callable

from vermeil_errors import VermeilError
from vermeil_jobs import Doorbell, Job
from vermeil_telemetry import get_logger

_MAX_WAITING = 10_000
_LONGEST_PAUSE = 10.0
"""Seconds between two tries of a broker that is away."""
_logger = get_logger(__name__)


class Sweeper:
    """A Doorbell that rings another one from its own thread."""

    def __init__(self, doorbell: Doorbell, *, interval: float = 1.0) -> None:
        self._doorbell = doorbell
        self._interval = interval
        self._waiting: queue.Queue[Job | None] = queue.Queue(_MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._unheard: Job | None = None
        """The last one whose ring failed, until it succeeds."""
        self._pause = interval
        self._next_try = 0.0

    def ring(self, job: Job) -> None:
        """Have the job's queue rung in a moment."""
        try:
            self._waiting.put_nowait(job)
        except queue.Full:
            _logger.warning("too many rings at once; the sweeper will find this one", job=job.name)

    def start(self, sweep: Callable[[], object], recall: Callable[[], None]) -> None:
        """Ring from now on, call `sweep` every interval, and `recall` when a broker that was away is back."""
        self._thread = threading.Thread(
            target=self._run, args=(sweep, recall), name="registry sweeper", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ring what is waiting, then end."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self, sweep: Callable[[], object], recall: Callable[[], None]) -> None:
        next_sweep = time.monotonic()
        while True:
            try:
                job = self._waiting.get(timeout=max(0.0, next_sweep - time.monotonic()))
            except queue.Empty:
                pass
            else:
                if job is None:
                    return
                self._ring(job)
            if time.monotonic() >= next_sweep:
                self._try_again(recall)
                _look(sweep)
                next_sweep = time.monotonic() + self._interval

    def _ring(self, job: Job) -> bool:
        try:
            self._doorbell.ring(job)
        except VermeilError as error:
            _logger.warning("the doorbell is broken; ringing again later", job=job.name, error=str(error))
        except Exception:
            _logger.exception("the doorbell broke in a new way; ringing again later", job=job.name)
        else:
            return True
        self._unheard = job
        self._forget_waiting()
        return False

    def _try_again(self, recall: Callable[[], None]) -> None:
        """At growing pauses, until the one that was not heard is heard and those who wait are recalled."""
        now = time.monotonic()
        if self._unheard is None or now < self._next_try:
            return
        self._next_try, self._pause = now + self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        if self._ring(self._unheard) and _look(recall):
            self._unheard, self._pause = None, self._interval

    def _forget_waiting(self) -> None:
        """Drop rings that would fail as slowly; keep the word to stop."""
        stopping = False
        while not self._waiting.empty():
            stopping |= self._waiting.get_nowait() is None
        if stopping:
            self._waiting.put(None)


def _look(at: Callable[[], object]) -> bool:
    try:
        at()
    except Exception:
        _logger.exception("the sweep failed; trying again")
        return False
    return True
