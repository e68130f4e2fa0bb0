"""SteadyClock: the time by which jobs are judged. It runs on evenly while the machine's clock is set.

Set forward, or awake after a sleep, the machine would see all leases end at once, though their workers
were never asked; so leases are prolonged first, and only then does this clock follow. Time while the
machine sleeps does not count as passed.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from vermeil_jobs.job import utc_now
from vermeil_telemetry import get_logger

_UNNOTICED = timedelta(seconds=1)
"""Less is followed at once: clocks are kept right by such steps, and leases last ten times as long."""
_logger = get_logger(__name__)


class SteadyClock:
    """Tells the time; safe from any thread.

    Args:
        wall: The machine's clock, which may be set.
        steady: Seconds since any moment, which nobody sets.
    """

    def __init__(
        self, *, wall: Callable[[], datetime] = utc_now, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._anchor = (wall(), steady())

    def __call__(self) -> datetime:
        """Now."""
        then, since = self._anchor
        return then + timedelta(seconds=self._steady() - since)

    def follow(self, prolong: Callable[[datetime], None]) -> None:
        """Go by the machine's clock again; `prolong` leases to the new time first, if it was set forward.

        Call it every second or so. If `prolong` raises, nothing has changed.
        """
        anchor = (self._wall(), self._steady())
        ahead = anchor[0] - self()
        if abs(ahead) > _UNNOTICED:
            _logger.warning("the machine's clock was set, or it slept", seconds=round(ahead.total_seconds()))
        if ahead > _UNNOTICED:
            prolong(anchor[0])
        self._anchor = anchor
