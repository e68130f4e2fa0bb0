"""Migrations and races, on every database there is."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError
from vermeil_errors import Conflict, InvalidInput, StaleFence, Unavailable
from vermeil_jobs import (
    JobOutcome,
    JobState,
    Ledger,
    LogLine,
    ManualClock,
    NewModelVersion,
    Policy,
    RecordingDoorbell,
)
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.bench import artifact
from vermeil_registry import database as database_module
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.database import Database, LostRace
from vermeil_registry.migrate import migrate
from vermeil_registry.storage import SqlStorage
from vermeil_registry.tables import metadata

from .conftest import Databases, at_once  # pants: no-infer-dep


def differences(database: Database) -> list[object]:
    """Between the database and the tables that the code knows."""
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_why_a_database_is_away_is_told_to_who_runs_it_and_not_to_callers(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/x.db")
    with pytest.raises(Unavailable, match=r"unable to open database file.*VERMEIL_DATABASE_URL") as caught:
        database.is_alive()
    assert caught.value.public_message == "the database does not answer; try again shortly"


def test_migrations_make_exactly_the_tables_the_code_knows(database: Database) -> None:
    assert differences(database) == []


def test_every_migration_can_be_taken_back(databases: Databases) -> None:
    database = databases.open(databases.empty_url())
    for _ in range(2):
        migrate(database)
        assert differences(database) == []
        migrate(database, to="base")
        assert inspect(database.engine).get_table_names() == ["alembic_version"]


def test_many_registries_may_start_on_an_empty_database_at_once(databases: Databases) -> None:
    url = databases.empty_url()
    starting = [databases.open(url) for _ in range(6)]
    assert at_once(*(partial(migrate, each) for each in starting)) == [None] * 6
    for each in starting:
        assert Ledger(SqlStorage(each), RecordingDoorbell()).list_jobs().jobs == ()


def test_a_migrated_database_is_left_alone(database: Database) -> None:
    migrate(database)
    migrate(database)


def test_a_database_of_a_newer_version_is_refused(databases: Databases) -> None:
    database = databases.open(databases.empty_url())
    migrate(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="9999"):
        migrate(database)


@pytest.mark.parametrize("url", ["", "mysql://localhost/x", "sqlite", "nonsense://x"])
def test_a_wrong_database_url_names_its_variable(url: str) -> None:
    with pytest.raises(InvalidInput, match="VERMEIL_DATABASE_URL"):
        Database(url)


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/missing/registry.db")
    with pytest.raises(Unavailable, match="database"):
        database.is_alive()


@contextmanager
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """Another process writes all the while."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def a_table(folder: Path, patience: float, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(database_module, "_LOCKED_SECONDS", patience)
    monkeypatch.setitem(database_module._OPTIONS["sqlite"]["connect_args"], "timeout", patience)
    database = Database(f"sqlite:///{folder}/x.db")
    database.write(lambda connection: connection.execute(text("CREATE TABLE things AS SELECT 1 AS number")))
    return database


def write(connection: Connection) -> None:
    connection.execute(text("UPDATE things SET number = number + 1"))


def test_who_cannot_write_because_others_do_hears_so_in_seconds_and_may_ask_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = a_table(tmp_path, 0.2, monkeypatch)
    with locked(tmp_path / "x.db"):
        failures = at_once(*(partial(database.write, write) for _ in range(3)))
    assert all(isinstance(each, Unavailable) and each.retryable for each in failures), failures
    assert all("VERMEIL_DATABASE_URL" in str(each) and "x.db" in str(each) for each in failures)
    database.write(write)
    assert database.read(lambda connection: connection.scalar(text("SELECT number FROM things"))) == 2
    database.close()


def test_a_write_that_others_keep_waiting_for_a_moment_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = a_table(tmp_path, 60.0, monkeypatch)
    with locked(tmp_path / "x.db") as other, ThreadPoolExecutor() as threads:
        writing = [threads.submit(database.write, write) for _ in range(3)]
        end = time.monotonic() + 60
        while not database._one_writer.locked():
            assert time.monotonic() < end, "nobody writes"
            time.sleep(0.01)
        assert not any(each.done() for each in writing)
        other.execute("COMMIT")
        for each in writing:
            each.result(60)
    assert database.read(lambda connection: connection.scalar(text("SELECT number FROM things"))) == 4
    database.close()


def test_who_loses_every_race_may_ask_again_so_that_no_worker_loses_what_it_has_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = a_table(tmp_path, 4.0, monkeypatch)

    def lose(connection: Connection) -> None:
        write(connection)
        raise LostRace("jobs/1")

    with pytest.raises(Unavailable, match="nothing was written") as refused:
        database.write(lose)
    assert refused.value.retryable
    assert database.read(lambda connection: connection.scalar(text("SELECT number FROM things"))) == 1
    database.close()


def test_rows_that_no_trying_on_can_write_are_our_own_mistake_and_no_lost_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = a_table(tmp_path, 4.0, monkeypatch)
    database.write(lambda connection: connection.execute(text("CREATE UNIQUE INDEX once ON things (number)")))
    with pytest.raises(IntegrityError):
        database.write(lambda connection: connection.execute(text("INSERT INTO things VALUES (1)")))
    database.close()


def test_a_job_survives_the_database_being_closed_and_opened(databases: Databases) -> None:
    url = databases.migrated_url()
    first, second = databases.open(url), databases.open(url)
    bench = Bench(Ledger(SqlStorage(first), RecordingDoorbell()), None, None, None)  # type: ignore[arg-type]
    job = bench.create(inputs={"dataset": artifact(1, "dataset")})
    first.close()
    assert Ledger(SqlStorage(second), RecordingDoorbell()).get(job.name) == job


def test_of_many_jobs_claimed_by_many_registries_at_once_each_is_given_once(databases: Databases) -> None:
    url = databases.migrated_url()
    ledgers = [Ledger(SqlStorage(databases.open(url)), RecordingDoorbell()) for _ in range(4)]
    bench = Bench(ledgers[0], None, None, None)  # type: ignore[arg-type]
    names = [bench.create().name for _ in range(20)]

    def claim_all(ledger: Ledger, worker: str) -> list[str]:
        return [name for name in names if ledger.claim(name, worker=worker).lease is not None]

    given = at_once(*(partial(claim_all, ledger, f"worker-{n}") for n, ledger in enumerate(ledgers * 2)))
    assert sorted(name for each in given for name in each) == sorted(names)  # type: ignore[attr-defined]
    assert {ledgers[0].get(name).attempt for name in names} == {1}


def test_one_of_many_racing_workers_gets_the_lease(sql_bench: Bench) -> None:
    for _ in range(5):
        job = sql_bench.create()
        claims = at_once(*(partial(sql_bench.jobs.claim, job.name, worker=worker) for worker in "abcdef"))
        leases = [claim.lease for claim in claims if claim.lease]  # type: ignore[attr-defined]
        assert len(leases) == 1
        assert sql_bench.jobs.get(job.name).attempt == 1


def test_many_equal_requests_at_once_make_one_job(sql_bench: Bench) -> None:
    new = sql_bench.new()
    made = at_once(*(lambda: sql_bench.jobs.create(new) for _ in range(6)))
    assert len({job.name for job in made}) == 1  # type: ignore[attr-defined]


def test_versions_made_at_once_count_without_gaps(sql_bench: Bench) -> None:
    finishes = []
    for number in range(8):
        job = sql_bench.create()
        fence = sql_bench.claim(job).fence
        outcome = JobOutcome(model_versions=(NewModelVersion("models/nano", artifact(number)),))
        finishes.append(partial(sql_bench.jobs.finish, job.name, fence=fence, outcome=outcome))
    done = at_once(*finishes)
    names = {str(job.result["model_version"]) for job in done}  # type: ignore[attr-defined]
    assert names == {f"models/nano/versions/{number}" for number in range(1, 9)}


def test_many_equal_requests_at_once_make_one_version(database: Database) -> None:
    catalogue = Catalogue(database)
    new = NewModelVersion("models/nano", artifact(1))
    made = at_once(*(lambda: catalogue.create_version(new, request_id="r", job="") for _ in range(6)))
    assert {version.name for version in made} == {"models/nano/versions/1"}  # type: ignore[attr-defined]


def test_a_late_finish_and_a_takeover_never_both_win(sql_bench: Bench) -> None:
    for _ in range(10):
        job = sql_bench.create()
        zombie = sql_bench.claim(job)
        sql_bench.clock.advance(11)
        outcome = JobOutcome(model_versions=(NewModelVersion("models/raced", artifact(1)),))
        finished, claimed = at_once(
            partial(sql_bench.jobs.finish, job.name, fence=zombie.fence, outcome=outcome),
            partial(sql_bench.jobs.claim, job.name, worker="heir"),
        )
        if isinstance(finished, StaleFence):
            assert claimed.lease is not None  # type: ignore[attr-defined]
        else:
            assert claimed.lease is None  # type: ignore[attr-defined]
            assert finished.state is JobState.SUCCEEDED  # type: ignore[attr-defined]


def test_predecessors_that_end_at_once_ring_their_successor(sql_bench: Bench) -> None:
    for _ in range(5):
        first, second = sql_bench.create(), sql_bench.create()
        last = sql_bench.create(after=(first.name, second.name))
        fences = [(job.name, sql_bench.claim(job).fence) for job in (first, second)]
        sql_bench.doorbell.take()
        finish = partial(sql_bench.jobs.finish, outcome=JobOutcome())
        at_once(*(partial(finish, name, fence=fence) for name, fence in fences))
        assert sql_bench.doorbell.take() == [last.name]


def test_a_predecessor_that_ends_while_its_successor_is_made_is_not_forgotten(sql_bench: Bench) -> None:
    for _ in range(10):
        first = sql_bench.create()
        fence = sql_bench.claim(first).fence
        last, _done = at_once(
            partial(sql_bench.create, after=(first.name,)),
            partial(sql_bench.jobs.finish, first.name, fence=fence, outcome=JobOutcome()),
        )
        assert sql_bench.is_claimable(last)  # type: ignore[arg-type]


def test_only_the_newest_lines_of_a_log_are_kept(database: Database) -> None:
    clock = ManualClock()
    ledger = Ledger(SqlStorage(database), RecordingDoorbell(), clock=clock, policy=Policy(max_lines=10))
    bench = Bench(ledger, clock, RecordingDoorbell(), ledger)
    job = bench.create()
    fence = bench.claim(job).fence
    for start in range(0, 25, 5):
        times = [clock.now + timedelta(microseconds=number) for number in range(start, start + 5)]
        lines = [LogLine(time, "info", f"line {time.microsecond}") for time in times]
        ledger.heartbeat(job.name, fence=fence, lines=lines)
    assert [line.text for line in ledger.list_logs(job.name).lines] == [f"line {n}" for n in range(15, 25)]
