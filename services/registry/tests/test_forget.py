"""What is forgotten is old and asked to be, and nothing else."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from vermeil_jobs import Job, JobOutcome, LogLine
from vermeil_jobs.suite import Bench
from vermeil_registry.__main__ import main
from vermeil_registry.audit import Audit, NewEvent
from vermeil_registry.database import Database
from vermeil_registry.forget import forget

from .house import House, silence

DAY = 86_400


def end(bench: Bench, num_lines: int) -> Job:
    """A job that ends now, with so many lines."""
    job = bench.create()
    fence = bench.claim(job).fence
    lines = [LogLine(bench.clock.now, "info", f"line {n}") for n in range(num_lines)]
    bench.jobs.heartbeat(job.name, fence=fence, lines=lines)
    return bench.jobs.finish(job.name, fence=fence, outcome=JobOutcome())


def record(bench: Bench, database: Database, number: int) -> None:
    event = NewEvent("operator", "POST /v1/trainings", f"jobs/{number}", 202, "trace-1")
    Audit(database, clock=bench.clock).record(event, f"event-{number}")


def resources(database: Database) -> list[str]:
    return [event.new.resource for event in Audit(database).list_events(10, "")[0]]


def test_lines_go_so_many_days_after_the_end_of_their_job(
    sql_bench: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermeil_registry.forget._JOBS_AT_ONCE", 2)
    running = sql_bench.create()
    fence = sql_bench.claim(running).fence
    old = [end(sql_bench, 3) for _ in range(5)]
    line = LogLine(sql_bench.clock.now, "info", "as old")
    sql_bench.jobs.heartbeat(running.name, fence=fence, lines=[line], lease=timedelta(hours=1))
    sql_bench.clock.advance(2)
    young = end(sql_bench, 1)
    sql_bench.clock.advance(30 * DAY - 1)
    said: list[str] = []
    for _ in range(2):
        forget(database, said.append, keep_lines_days=30, keep_audit_days=0, clock=sql_bench.clock)
    assert said[0].startswith("15 log lines")
    assert said[1].startswith("0 log lines")
    for job in old:
        assert sql_bench.jobs.get(job.name) == job
        assert sql_bench.jobs.list_logs(job.name).lines == ()
    assert [line.text for line in sql_bench.jobs.list_logs(young.name).lines] == ["line 0"]
    assert sql_bench.jobs.list_logs(running.name).lines == (line,)


def test_audit_events_go_by_their_age(
    sql_bench: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermeil_registry.forget._EVENTS_AT_ONCE", 2)
    for number in range(5):
        record(sql_bench, database, number)
    sql_bench.clock.advance(2)
    record(sql_bench, database, 5)
    sql_bench.clock.advance(365 * DAY - 1)
    said: list[str] = []
    forget(database, said.append, keep_lines_days=0, keep_audit_days=365, clock=sql_bench.clock)
    assert said == ["5 audit events older than 365 days removed"]
    assert resources(database) == ["jobs/5"]


def test_nothing_goes_unless_asked_for(sql_bench: Bench, database: Database) -> None:
    job = end(sql_bench, 1)
    record(sql_bench, database, 1)
    sql_bench.clock.advance(36_500 * DAY)
    forget(database, silence, keep_lines_days=0, keep_audit_days=0, clock=sql_bench.clock)
    assert len(sql_bench.jobs.list_logs(job.name).lines) == 1
    assert resources(database) == ["jobs/1"]


def test_a_collection_forgets_what_the_settings_say(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.make_model(1)
    job = end(house.bench, 2)
    record(house.bench, house.database, 1)
    with house.database.engine.begin() as connection:
        connection.execute(text(f"UPDATE jobs SET end_time = end_time - {8 * DAY * 10**6}"))
        connection.execute(text("UPDATE audit_events SET time = 0"))
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VERMEIL_DATABASE_URL", str(house.database.engine.url))
    monkeypatch.setenv("VERMEIL_ARTIFACTS_URL", f"file://{tmp_path}/house/artifacts")
    assert main("collect") == 0
    monkeypatch.setenv("VERMEIL_KEEP_LINES_DAYS", "9")
    assert main("collect") == 0
    assert len(house.bench.jobs.list_logs(job.name).lines) == 2
    monkeypatch.setenv("VERMEIL_KEEP_LINES_DAYS", "7")
    assert main("collect") == 0
    assert house.bench.jobs.list_logs(job.name).lines == ()
    assert resources(house.database) == ["jobs/1"]
    monkeypatch.setenv("VERMEIL_KEEP_AUDIT_DAYS", "7")
    assert main("collect") == 0
    assert resources(house.database) == []
    assert "1 audit events older than 7 days removed" in capsys.readouterr().out
