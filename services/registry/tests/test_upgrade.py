"""Houses of every revision, with rows in every table, opened with the code of today."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from vermeil_jobs import JobState, Ledger, RecordingDoorbell
from vermeil_registry.audit import Audit
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.database import Database
from vermeil_registry.dump import dump, load, tables
from vermeil_registry.keys import Keys
from vermeil_registry.migrate import migrate, revision, revisions
from vermeil_registry.state import look, skew_seconds
from vermeil_registry.storage import SqlStorage

from .conftest import Databases  # pants: no-infer-dep

HOUSES = Path(__file__).parent / "houses"


def lines_of(house: str) -> list[bytes]:
    return (HOUSES / f"{house}.jsonl").read_bytes().splitlines(keepends=True)


@pytest.fixture(params=revisions())
def old_house(request: pytest.FixtureRequest, databases: Databases) -> Iterator[tuple[str, Database]]:
    """A revision, and a house that was made when it was the newest."""
    database = databases.open(databases.empty_url())
    migrate(database, to=request.param)
    database.write(lambda connection: load(connection, lines_of(request.param)))
    yield request.param, database
    database.close()


def test_every_table_of_a_house_has_rows(old_house: tuple[str, Database]) -> None:
    house, database = old_house
    names = {table.name for table in database.read(tables)}
    filled = {line[2 : line.index(b'"', 2)].decode() for line in lines_of(house)}
    assert filled == names, "write the house of a new revision with tests/houses/make.py"


def test_no_row_is_lost_or_changed_on_the_way_to_today(old_house: tuple[str, Database]) -> None:
    house, database = old_house
    migrate(database)
    assert database.read(revision) == revisions()[-1]
    today = [json.loads(line) for line in database.read(lambda connection: list(dump(connection)))]
    for name, row in map(json.loads, lines_of(house)):
        kept = [{column: now.get(column) for column in row} for table, now in today if table == name]
        assert row in kept, name


def test_today_s_code_reads_and_goes_on_with_what_it_finds(old_house: tuple[str, Database]) -> None:
    house, database = old_house
    migrate(database)
    ledger = Ledger(SqlStorage(database), RecordingDoorbell())
    second, first = ledger.list_jobs().jobs
    assert (first.state, second.state) == (JobState.SUCCEEDED, JobState.PENDING)
    assert [line.text for line in ledger.list_logs(first.name).lines] == ["begun"]
    assert ledger.claim(second.name, worker="worker").lease is not None
    version = Catalogue(database).get_version("models", "models/nano")
    assert (version.job, version.artifact) == (first.name, first.outputs["model"])
    if house >= "0002":
        key = Keys(database).check("keys/0123456789abcdef", sha256(b"a secret").digest())
        assert (key.new.scopes, key.usage.tokens_in_total) == (("read",), 30)
    quotas, _ = ledger.list_quotas()
    assert [quota.owner for quota in quotas] == ["owners/default", *["owners/guests"] * (house >= "0004")]
    events, _ = Audit(database).list_events(10, "")
    assert [event.new.resource for event in events] == ([first.name] if house >= "0003" else [])


def test_how_a_database_is_can_be_seen_without_changing_it(databases: Databases) -> None:
    url = databases.empty_url()
    assert look(url).revision is None
    database = databases.open(url)
    migrate(database, to="0001")
    seen = look(url)
    assert (seen.revision, seen.newest) == ("0001", revisions()[-1])
    assert abs(seen.skew_seconds) < 60
    assert database.read(revision) == "0001"


@pytest.mark.parametrize(
    ("told", "answered", "within", "skew"),
    [
        (0, 0, 0, 0),
        (20, 30, 0, 0),
        (40, 30, 0, 10),
        (-5, 30, 0, -5),
        (-2, 30, 2, 0),
        (-5, 30, 2, -3),
        (3600, 0, 2, 3600),
    ],
)
def test_an_answer_that_takes_its_time_makes_no_clock_wrong(
    told: int, answered: int, within: int, skew: int
) -> None:
    asked = datetime(2026, 1, 1, tzinfo=UTC)
    times = (asked + timedelta(seconds=told), asked, asked + timedelta(seconds=answered))
    assert skew_seconds(*times, told_within=within) == skew
