"""What Prometheus is told of jobs that wait and run: by queue, from the rows."""

from prometheus_client import REGISTRY
from vermeil_jobs import JobOutcome
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.bench import QUEUE
from vermeil_registry.census import SECONDS, Census
from vermeil_registry.database import Database


def _told(state: str, queue: str = QUEUE) -> float | None:
    return REGISTRY.get_sample_value("vermeil_jobs", {"queue": queue, "state": state})


def test_jobs_count_from_when_a_worker_could_take_them_until_they_are_over(
    database: Database, sql_bench: Bench
) -> None:
    now = 0.0
    census = Census(database, clock=lambda: now)
    first = sql_bench.create()
    sql_bench.create(after=(first.name,))
    sql_bench.create(queue="other")
    census.take()
    assert (_told("ready"), _told("running"), _told("ready", "other")) == (1, 0, 1)
    lease = sql_bench.claim(first)
    census.take()
    assert (_told("ready"), _told("running")) == (1, 0), "counted again at once"
    now += SECONDS
    census.take()
    assert (_told("ready"), _told("running")) == (0, 1)
    sql_bench.jobs.finish(first.name, fence=lease.fence, outcome=JobOutcome())
    now += SECONDS
    census.take()
    assert (_told("ready"), _told("running")) == (1, 0), "what waited for it"
