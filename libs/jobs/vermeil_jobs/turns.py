"""Turns: in which order waiting jobs of a queue are handed to workers.

Self-clocked fair queueing: each job draws a number once, as it is made, and the smallest goes first. An
owner's jobs of one priority are as far apart as the priority costs, so a thousand jobs of one owner
and one of another begin side by side, and of each owner 16 high or 4 normal jobs go for one low one.
The clock is the number of what is being worked on: it only grows while others wait, so that none waits
for ever, and no time is asked.
"""

from vermeil_jobs.job import NewJob, Priority
from vermeil_jobs.storage import Transaction

COSTS = {Priority.HIGH: 1, Priority.NORMAL: 4, Priority.LOW: 16}
"""Distance of a job's turn from the one before it."""


def draw_turn(rows: Transaction, new: NewJob) -> int:
    """The turn of a new job: after the owner's last of its priority, and not before its time."""
    now = _clock(rows, new.queue)
    last = rows.last_turn(new.queue, new.owner, new.priority)
    return max(now, last or now) + COSTS[new.priority]


def _clock(rows: Transaction, queue: str) -> int:
    running = rows.running_turn(queue)
    if running is not None:
        return running
    return min((turn - COSTS[priority] for priority, turn in rows.first_turns(queue).items()), default=0)
