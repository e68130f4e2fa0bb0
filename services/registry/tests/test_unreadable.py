"""A row of a newer version: said by name to who asks for it, and in nobody else's way."""

import pytest
from sqlalchemy import text
from vermeil_errors import DataCorrupted
from vermeil_jobs import Job
from vermeil_jobs.suite import Bench
from vermeil_registry.database import Database

NEWER = {
    "state": "PAUSED",
    "priority": "URGENT",
    "progress": '{"done":1,"phase":"warm-up"}',
    "inputs": '["sha256:1"]',
    "after": "{",
}
BY_ALL = pytest.mark.parametrize("column", NEWER)


def rewrite(database: Database, job: Job, column: str) -> None:
    """Leave a job as a newer version might."""
    with database.engine.begin() as connection:
        change = text(f"UPDATE jobs SET {column} = :value WHERE name = :name")
        connection.execute(change, {"value": NEWER[column], "name": job.name})


def warnings_of(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    said = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line["job"] for line in said if line["event"] == event]


@BY_ALL
def test_the_sweeper_looks_after_all_others_and_tells_once(
    sql_bench: Bench, database: Database, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    first, second = sql_bench.create(request_id="1"), sql_bench.create(request_id="2")
    rewrite(database, first, column)
    for _ in range(3):
        sql_bench.doorbell.take()
        sql_bench.clock.advance(600)
        sql_bench.sweep()
        assert sql_bench.doorbell.take() == [second.name]
    assert warnings_of(caplog, "cannot look after a job") == [first.name]


def test_many_of_them_keep_the_sweeper_from_no_other(
    sql_bench: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermeil_jobs.ledger._SWEEP_LIMIT", 2)
    for number in range(5):
        rewrite(database, sql_bench.create(request_id=f"{number}"), "state")
    last = sql_bench.create(request_id="last")
    sql_bench.doorbell.take()
    sql_bench.clock.advance(600)
    for _ in range(3):
        sql_bench.sweep()
    assert sql_bench.doorbell.take() == [last.name]


@BY_ALL
def test_who_asks_for_it_by_name_is_told_why_not(sql_bench: Bench, database: Database, column: str) -> None:
    job = sql_bench.create()
    rewrite(database, job, column)
    for ask in (sql_bench.jobs.get, sql_bench.jobs.cancel):
        with pytest.raises(DataCorrupted, match=f"{job.name} cannot be read by this version") as refused:
            ask(job.name)
        assert refused.value.fix == "use the version that wrote it"
    with pytest.raises(DataCorrupted, match=job.name):
        sql_bench.create(request_id=job.request_id)


@BY_ALL
def test_pages_leave_it_out_and_go_on_to_the_end(
    sql_bench: Bench, database: Database, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    jobs = [sql_bench.create(request_id=f"{number}") for number in range(6)]
    for job in jobs[1:4]:
        rewrite(database, job, column)
    for _ in range(2):
        page = sql_bench.jobs.list_jobs(page_size=2)
        rest = sql_bench.jobs.list_jobs(page_size=2, page_token=page.next_page_token)
        assert [job.name for job in (*page.jobs, *rest.jobs)] == [jobs[5].name, jobs[4].name, jobs[0].name]
        assert rest.next_page_token == ""
    left_out = warnings_of(caplog, "left out a job that cannot be read")
    assert left_out == [job.name for job in jobs[3:0:-1]]


@BY_ALL
def test_workers_are_handed_the_next_one(sql_bench: Bench, database: Database, column: str) -> None:
    first, second = sql_bench.create(request_id="1"), sql_bench.create(request_id="2")
    rewrite(database, first, column)
    third = sql_bench.create(request_id="3")  # which draws its turn among those that wait
    claimed = sql_bench.jobs.claim(third.name, worker="worker", kinds=[second.kind])
    assert (claimed.job.name, claimed.lease is None) == (second.name, False)


@pytest.mark.parametrize("column", sorted(NEWER.keys() - {"state"}))
def test_a_registry_starts_and_hears_of_its_broker_beside_it(
    sql_bench: Bench, database: Database, column: str
) -> None:
    first, second, third = (sql_bench.create(request_id=f"{number}") for number in range(3))
    lease = sql_bench.claim(second)
    sql_bench.claim(third)
    sql_bench.clock.advance(10)
    for job in (first, third):
        rewrite(database, job, column)
    sql_bench.ledger.forgive()
    sql_bench.ledger.recall()
    sql_bench.sweep()
    sql_bench.jobs.heartbeat(
        second.name, fence=lease.fence
    )  # which was forgiven, and not taken from its worker
