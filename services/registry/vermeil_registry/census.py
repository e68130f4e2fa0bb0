"""How many jobs wait and run, by queue, told to Prometheus: what workers are scaled by.

The rows are asked and not the broker: a doorbell may be lost or rung twice, and each broker
counts in its own way.
"""

import time
from collections.abc import Callable

from sqlalchemy import func, select
from vermeil_jobs import JobState
from vermeil_telemetry import gauge

from vermeil_registry.database import Database
from vermeil_registry.tables import JOBS

SECONDS = 5.0
"""Between two counts, which take longer the more jobs wait."""

_jobs = gauge(
    "jobs", "Jobs that wait for nothing but a worker (ready), or are worked on (running)", ["queue", "state"]
)
_STATES = {JobState.PENDING.value: "ready", JobState.RUNNING.value: "running"}
_COUNT = (
    select(JOBS.c.queue, JOBS.c.state, func.count())
    .where(JOBS.c.state.in_(_STATES), JOBS.c.num_waiting == 0)
    .group_by(JOBS.c.queue, JOBS.c.state)
)


class Census:
    """Counts when asked, but not too often."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._next = clock()
        self._queues: set[str] = set()

    def take(self) -> None:
        """Count anew if it is time."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + SECONDS
        rows = self._database.read(lambda connection: connection.execute(_COUNT).all())
        counts = {(queue, _STATES[state]): number for queue, state, number in rows}
        self._queues |= {queue for queue, _ in counts}
        for queue in self._queues:
            for state in _STATES.values():
                _jobs.labels(queue, state).set(counts.get((queue, state), 0))
