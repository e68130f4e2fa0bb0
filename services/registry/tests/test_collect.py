"""A collection takes what is old and named by no row, from a folder and from a bucket, and no more."""

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from vermeil_artifacts import Collected, LocalStore
from vermeil_errors import Conflict, InvalidInput, NotFound
from vermeil_registry.__main__ import main
from vermeil_registry.backup import named_artifacts
from vermeil_registry.collect import collect
from vermeil_registry.database import Database
from vermeil_registry.migrate import migrate

from .house import House, bucket, silence


def grow_old(folder: Path) -> None:
    """All that is in a local store was published eight days ago."""
    then = time.time() - 86_400 * 8
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def fill(house: House) -> tuple[set[str], str]:
    """What rows name, registered and read and laid down by jobs, and what none does."""
    model, read, laid = house.make_model(1), house.publish(2), house.publish(3)
    job = house.bench.create(request_id="under-way", inputs={"data": read})
    fence = house.bench.claim(job).fence
    house.bench.jobs.heartbeat(job.name, fence=fence, outputs={"shard": laid})
    return {model, read.digest, laid.digest}, house.publish(4).digest


def test_what_is_old_and_named_by_no_row_goes(any_house: House, tmp_path: Path) -> None:
    named, orphan = fill(any_house)
    said: list[str] = []
    grow_old(tmp_path / "house")
    young = any_house.publish(5).digest
    assert collect(any_house.database, any_house.store, 7, said.append) == Collected(1, 1, 8)
    assert set(any_house.store.list()) == named | {young}
    assert orphan not in named
    assert "1 artifacts, 1 files, 8 bytes" in said[-1]
    for digest in named:
        assert (any_house.store.fetch(digest) / "weights").read_bytes()


def test_it_takes_nothing_of_those_at_work(house: House, tmp_path: Path) -> None:
    """They publish again what lies there old, and name it a moment later."""
    house.make_model(1)
    old = [house.publish(number).digest for number in range(1001, 1031)]
    grow_old(tmp_path / "house")
    with house.under_load() as one_more:
        for _ in range(3):
            collect(house.database, house.store, 7, silence)
            one_more()
    made = house.database.read(named_artifacts)
    assert len(made) > 1
    assert set(made) <= set(house.store.list())
    assert not (set(old) - set(made)) & set(house.store.list())


def test_by_hand_it_takes_what_is_older_than_a_week_unless_told(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named, _ = fill(house)
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VERMEIL_DATABASE_URL", str(house.database.engine.url))
    monkeypatch.setenv("VERMEIL_ARTIFACTS_URL", f"file://{tmp_path}/house/artifacts")
    grow_old(tmp_path / "house")
    assert main("collect", "--older-than", "9") == 0
    assert "0 artifacts, 0 files" in capsys.readouterr().out
    assert main("collect") == 0
    assert "1 artifacts, 1 files" in capsys.readouterr().out
    assert set(house.store.list()) == named
    assert main("collect", "--older-than", "soon") != 0
    assert "older-than = 'soon'" in capsys.readouterr().err
    assert main("collect", "9") != 0
    assert "collect --older-than DAYS" in capsys.readouterr().err


@pytest.mark.parametrize("days", [0, -1, 40_000])
def test_a_wrong_number_of_days_is_refused_with_its_value(house: House, days: int) -> None:
    with pytest.raises(InvalidInput, match="older-than") as refused:
        collect(house.database, house.store, days, silence)
    assert str(days) in str(refused.value)
    assert "7" in str(refused.value)


def test_the_rows_of_another_house_take_nothing(house: House, tmp_path: Path) -> None:
    house.make_model(1)
    other = LocalStore(tmp_path / "other")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "weights").write_bytes(b"x")
    kept = other.publish(tmp_path / "files", kind="model").digest
    grow_old(tmp_path / "other")
    with pytest.raises(Conflict, match="VERMEIL_ARTIFACTS_URL"):
        collect(house.database, other, 7, silence)
    empty = Database(f"sqlite:///{tmp_path}/empty.db")
    try:
        with pytest.raises(NotFound, match="no tables"):
            collect(empty, other, 7, silence)
        migrate(empty)
        assert collect(empty, other, 7, silence) == Collected(0, 0, 0)
    finally:
        empty.close()
    assert list(other.list()) == [kept]


@pytest.fixture
def eight_days_later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For who judges the ages of objects; the server keeps its own time."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Later":
            return super().now(tz) + timedelta(days=8)

    with monkeypatch.context() as patch:
        patch.setattr("vermeil_artifacts.s3.datetime", Later)
        yield


@pytest.mark.slow
def test_from_a_bucket_too(house: House, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    stored = House(house.database, tmp_path / "stored", bucket(tmp_path / "cache"))
    named, orphan = fill(stored)
    assert collect(stored.database, stored.store, 7, silence) == Collected(0, 0, 0)
    assert stored.store.exists(orphan)
    request.getfixturevalue("eight_days_later")
    assert collect(stored.database, stored.store, 7, silence) == Collected(1, 1, 8)
    assert set(stored.store.list()) == named
