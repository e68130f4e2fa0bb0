"""Fills a database with what a house of years holds, past the API: jobs that ended, and all they left.

What is over grows with the number of ended jobs; what waits and runs is the same in every house.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert, text
from vermeil_jobs.job import JobState
from vermeil_registry.database import Database
from vermeil_registry.patience import waiting_for_good
from vermeil_registry.tables import API_KEY_USAGE, API_KEYS, ARTIFACTS, ENTRIES, JOBS, VERSIONS

WAITING, RUNNING, QUEUES, OWNERS = 2_000, 50, 5, 7
LONGEST_LOG = 10_000
"""Lines of one job that runs."""
PER_ARTIFACT, PER_VERSION, LINES = 10, 20, 10
"""Ended jobs for one artifact, for one version; log lines of one of them."""
DAYS, MODELS, KEYS = 730, 50, 20
_ENDED = [JobState.SUCCEEDED] * 17 + [JobState.FAILED, JobState.FAILED, JobState.CANCELLED]
"""No job of the kind that is asked for most has failed, which is the most to look through in vain."""
_COUNT = "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < :most) "
_LINES = """INSERT INTO job_lines (job, number, time, level, text)
SELECT name, n, create_time + n, 'info', 'step ' || CAST(n AS TEXT) || ' of 1000, loss 1.25, rate 0.00031'
FROM jobs, ({count} SELECT n FROM count) AS counted WHERE jobs.number {which}"""
_EVENTS = """INSERT INTO audit_events (time, caller, action, resource, status, trace_request_id, request_id)
SELECT create_time, 'keys/' || owner, 'POST /v1/x', name, 202, 'trace', 'audit-' || CAST(number AS TEXT)
FROM jobs ORDER BY number"""


def kind_of(number: int) -> str:
    """Most are of five kinds; one has not been asked for in years."""
    return (
        "vermeil.rare.v1.run" if number <= 100 and number % 20 == 0 else f"vermeil.q{number % QUEUES}.v1.run"
    )


def job_name(number: int) -> str:
    """Of the job made as the so manieth."""
    return f"jobs/{number:018d}"


def digest_of(number: int) -> str:
    """Of the artifact made as the so manieth."""
    return f"sha256:{number:064x}"


def fill(database: Database, ended: int) -> None:
    """Bring a migrated database without rows to where `ended` jobs are over."""

    def work(connection: Connection) -> None:
        patience = nullcontext() if database.is_sqlite else waiting_for_good(connection)
        with patience:
            insert_all(connection)

    def insert_all(connection: Connection) -> None:
        jobs = _jobs(ended)
        while some := list(islice(jobs, 2_000)):
            connection.execute(insert(JOBS), some)
        lines = _LINES.format(count=_COUNT, which=f"<= {ended}")
        connection.execute(text(lines), {"most": LINES})
        lines = _LINES.format(count=_COUNT, which=f"= {ended + WAITING + RUNNING}")
        connection.execute(text(lines), {"most": LONGEST_LOG})
        connection.execute(text(_EVENTS))
        _fill_names(connection, ended)
        if not database.is_sqlite:
            for table in ("jobs", "artifacts", "entries"):
                count = (
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'number'), max(number)) FROM {table}"
                )
                connection.execute(text(count))

    database.write(work)


def _jobs(ended: int) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC)
    step = timedelta(days=DAYS) / ended
    for number in range(1, ended + WAITING + RUNNING + 1):
        state, made = _ENDED[number % 20], now - max(ended - number, 0) * step
        if number > ended:
            state = JobState.PENDING if number <= ended + WAITING else JobState.RUNNING
        later = now + timedelta(days=30)
        ref = {"digest": digest_of(number // PER_ARTIFACT + 1), "kind": "model", "num_bytes": 123_456_789}
        progress = {
            "done": 9,
            "total": 10,
            "unit": "steps",
            "message": "",
            "metrics": {"loss": 1.25, "rate": 31.5},
        }
        yield {
            "number": number,
            "name": job_name(number),
            "owner": f"owners/o{number % OWNERS}",
            "request_id": f"request-{number}",
            "kind": kind_of(number),
            "queue": f"q{number % QUEUES}",
            "spec_type": "type.googleapis.com/vermeil.training.v1.TrainingSpec",
            "spec_value": b"\x0a\xff" * 300,
            "after": [],
            "inputs": {"dataset": ref},
            "traceparent": f"00-{number:032x}-{number:016x}-01",
            "create_time": made,
            "state": state.value,
            "max_attempts": 5,
            "attempt": int(state is not JobState.PENDING),
            "cancel_requested": False,
            "num_waiting": 0,
            "ready_time": None,
            "fence": int(state is not JobState.PENDING),
            "worker": "" if state is JobState.PENDING else f"worker-{number % 50}",
            "lease_end": later if state is JobState.RUNNING else None,
            "ending": "success" if state.is_final else "",
            "error": None,
            "start_time": None if state is JobState.PENDING else made,
            "end_time": made + step if state.is_final else None,
            "progress": progress,
            "outputs": {"model": ref} if state is JobState.SUCCEEDED else {},
            "result": {"model_version": "models/m1/versions/1"} if state is JobState.SUCCEEDED else {},
            "ring_time": None if state.is_final else later,
            "num_rings": 0,
            "revision": 3,
            "priority": ("NORMAL", "NORMAL", "LOW", "HIGH")[number % 4],
            "turn": number * 4,
        }


def _fill_names(connection: Connection, ended: int) -> None:
    now = datetime.now(UTC)
    made = {"create_time": now}
    artifacts = [
        {"digest": digest_of(number), "kind": "rare" if number <= 5 else "model", "num_bytes": 123_456_789}
        | {"job": job_name(number)}
        | made
        for number in range(1, ended // PER_ARTIFACT + 1)
    ]
    connection.execute(insert(ARTIFACTS), artifacts)
    each = max(ended // PER_VERSION // MODELS, 1)
    names = [f"models/m{number}" for number in range(MODELS)]
    entry = {
        "collection": "models",
        "owner": "owners/default",
        "description": "",
        "last_version": each,
    } | made
    connection.execute(insert(ENTRIES), [entry | {"name": name} for name in names])
    version = {"owner": "owners/default", "details": {"recipe": "x" * 400}} | made
    versions = [
        version
        | {"entry": name, "version": number, "job": job_name(number), "digest": digest_of(number)}
        | {"request_id": f"{name}-{number}"}
        for name in names
        for number in range(1, each + 1)
    ]
    connection.execute(insert(VERSIONS), versions)
    key = {"display_name": "key", "owner": "owners/default", "scopes": ["submit"], "limits": {}} | made
    keys = [f"keys/{number:016d}" for number in range(KEYS)]
    connection.execute(
        insert(API_KEYS),
        [key | {"name": name, "secret_digest": bytes(32), "request_id": name} for name in keys],
    )
    days = [(now - timedelta(days=day)).date().isoformat() for day in range(max(DAYS * ended // 200_000, 1))]
    usage = [{"key": name, "day": day, "requests": 9, "tokens": 999} for name in keys for day in days]
    connection.execute(insert(API_KEY_USAGE), usage)
