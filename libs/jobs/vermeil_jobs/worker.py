"""run_worker: a Celery worker in this process, until it is told to stop."""

import warnings
from collections.abc import Sequence
from typing import Literal

from celery.exceptions import SecurityWarning  # type: ignore[import-untyped]
from celery.signals import setup_logging  # type: ignore[import-untyped]

from vermeil_jobs.app import JobsApp


def run_worker(
    app: JobsApp,
    queues: Sequence[str],
    concurrency: int = 2,
    *,
    pool: Literal["threads", "solo"] = "threads",
) -> int:
    """Do the registered kinds of work of these queues; returns the exit code, 0 when told to stop.

    Belongs on the main thread. SIGTERM and SIGINT drain: running work is told, saves what it has and
    gives its job back.
    """
    setup_logging.connect(_leave_logging_alone)
    # Celery fears pickles run by root; we accept none.
    warnings.filterwarnings("ignore", category=SecurityWarning, module="celery")
    worker = app.Worker(
        queues=list(queues),
        concurrency=1 if pool == "solo" else concurrency,
        pool=pool,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        optimization="fair",
    )
    worker.start()
    return 0 if app.drain.started else int(worker.exitcode or 0)


def _leave_logging_alone(**_details: object) -> None:
    """Celery configures logging unless somebody answers this signal."""
