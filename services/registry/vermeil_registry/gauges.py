"""Gauges: how long the queues are, for Prometheus; counted once for each of its looks, at most.

Each registry of several tells the same numbers: take the greatest, not the sum.
"""

import time
from collections.abc import Callable, Mapping

from vermeil_telemetry import gauge

_SECONDS = 15.0
_PARTS = ("running", "ready", "held")
_jobs = gauge(
    "queue_jobs",
    "Jobs that are not over: running, ready (waiting for a worker), held (waiting for other jobs)",
    ["queue", "state"],
)


class Gauges:
    """Keeps the numbers fresh."""

    def __init__(self, lengths: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._lengths = lengths
        self._queues: set[str] = set()
        self._next_look = 0.0

    def refresh(self) -> None:
        """Count, if the last time is a while ago."""
        if time.monotonic() < self._next_look:
            return
        lengths = self._lengths()
        self._next_look = time.monotonic() + _SECONDS
        self._queues |= {queue for queue, _ in lengths}
        for queue in self._queues:  # those that are empty now, too
            for part in _PARTS:
                _jobs.labels(queue, part).set(lengths.get((queue, part), 0))
