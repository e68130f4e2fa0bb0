"""A folder keeps its last few snapshots: any of them comes back by its time, and the rest goes."""

import errno
import fcntl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from psycopg import ServerCursor
from sqlalchemy import Connection, event
from vermeil_artifacts import ArtifactRef, LocalStore
from vermeil_errors import Conflict, DataCorrupted, InvalidInput, NotFound, OutOfSpace
from vermeil_registry.__main__ import main
from vermeil_registry.backup import named_artifacts, restore
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.database import Database
from vermeil_registry.dump import dump, tables
from vermeil_registry.migrate import migrate
from vermeil_registry.snapshots import SnapshotFolder
from vermeil_testing import postgres

from .house import House, silence

FIRST = datetime(2026, 11, 1, 3, 17, tzinfo=UTC)


class Calendar:
    """Of whoever takes backups: a day goes by before each."""

    def __init__(self) -> None:
        self.now = FIRST - timedelta(days=1)

    def next(self, _zone: tzinfo) -> datetime:
        self.now += timedelta(days=1)
        return self.now


@pytest.fixture(autouse=True)
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    calendar = Calendar()

    class Daily(datetime):
        now = calendar.next  # type: ignore[assignment]

    monkeypatch.setattr("vermeil_registry.backup.datetime", Daily)
    return calendar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def versions(tmp_path: Path, folder: Path) -> Callable[..., int]:
    """How many versions of the model a snapshot brings into an empty house, all bytes there."""
    numbers = count()

    def bring_back(**which: str) -> int:
        home = tmp_path / f"restored-{next(numbers)}"
        database, store = Database(f"sqlite:///{home}.db"), LocalStore(home)
        try:
            restore(database, store, folder, silence, **which)
            found, _ = Catalogue(database).list_versions("models", "models/nano", 100, "")
        finally:
            database.close()
        for version in found:
            assert (store.fetch(version.artifact.digest) / "weights").read_bytes()
        return len(found)

    return bring_back


def times(folder: Path) -> list[str]:
    return [each.time for each in SnapshotFolder(folder).list(pytest.fail)]


def test_the_last_few_stay_and_any_of_them_comes_back_by_its_time(
    any_house: House, folder: Path, versions: Callable[..., int]
) -> None:
    made = []
    for number in range(1, 5):
        any_house.make_model(number)
        made.append(any_house.save(folder, keep=3))
    assert SnapshotFolder(folder).list(silence) == made[:0:-1]
    assert versions() == versions(snapshot="latest") == 4
    assert [versions(snapshot=each.time) for each in made[1:]] == [2, 3, 4]
    assert versions(snapshot="2026-11-02T04:17:00+01:00") == versions(snapshot="20261102T031700") == 2
    with pytest.raises(NotFound, match="2026-11-01T03:17:00") as refused:
        versions(snapshot=made[0].time)
    assert all(each.time in str(refused.value) for each in made[1:])


def test_seven_stay_unless_told(house: House, folder: Path) -> None:
    made = [house.save(folder).time for _ in range(9)]
    assert times(folder) == made[:1:-1]


def test_one_is_kept_when_one_is_asked_for(house: House, folder: Path, versions: Callable[..., int]) -> None:
    house.make_model(1)
    first = house.save(folder)
    house.make_model(2)
    second = house.save(folder, keep=1)
    assert len(second.artifacts) == len(first.artifacts) + 1
    assert [path.name for path in folder.glob("*.jsonl")] == [f"rows-{second.rows[:16]}.jsonl"]
    assert SnapshotFolder(folder).list(silence) == [second]
    assert versions() == 2


def test_what_only_dropped_snapshots_name_goes_and_what_any_other_names_stays(
    house: House, another: House, folder: Path, versions: Callable[..., int]
) -> None:
    gone, kept = house.make_model(1), another.make_model(2)
    house.save(folder, keep=2)
    another.save(folder, keep=2)
    store = SnapshotFolder(folder).store()
    assert set(store.list()) == {gone, kept}
    another.save(folder, keep=2)
    assert set(store.list()) == {kept}
    assert len(list((folder / "artifacts" / "blobs").iterdir())) == 1
    assert len(list(folder.glob("*.jsonl"))) == 1, "the same rows, one file"
    assert [versions(snapshot=time) for time in times(folder)] == [1, 1]


def test_a_folder_of_an_earlier_version_is_read_and_gone_on_with(
    house: House, folder: Path, versions: Callable[..., int]
) -> None:
    house.make_model(1)
    old = house.save(folder)
    (folder / "backup-1.json").rename(folder / "backup.json")
    (folder / "lock").unlink()
    assert versions() == 1
    house.make_model(2)
    new = house.save(folder)
    assert times(folder) == [new.time, old.time]
    assert (versions(snapshot=old.time), versions()) == (1, 2)
    assert times(folder) != [house.save(folder, keep=1).time]
    assert not (folder / "backup.json").exists()


def test_the_last_is_the_one_taken_last_whatever_the_clock_does(
    house: House, folder: Path, calendar: Calendar, versions: Callable[..., int]
) -> None:
    house.make_model(1)
    calendar.now += timedelta(days=365)
    house.save(folder)
    calendar.now -= timedelta(days=365)
    house.make_model(2)
    right = house.save(folder)
    assert versions() == 2
    house.save(folder, keep=2)
    assert times(folder)[1] == right.time


def test_what_the_store_lost_and_the_folder_holds_is_not_lost(
    house: House, folder: Path, versions: Callable[..., int]
) -> None:
    digest = house.make_model(1)
    house.save(folder)
    house.lose(digest)
    assert house.save(folder, keep=1).lost == ()
    assert versions() == 1


def test_what_a_later_snapshot_found_again_comes_back_with_an_earlier_one(
    house: House, folder: Path, versions: Callable[..., int]
) -> None:
    digest = house.make_model(1)
    house.lose(digest)
    with pytest.raises(DataCorrupted, match=digest):
        house.save(folder)
    assert house.publish(1).digest == digest
    house.save(folder)
    assert versions(snapshot=times(folder)[1]) == 1


def test_what_a_broken_off_backup_copied_is_used_or_goes(house: House, folder: Path) -> None:
    named, unnamed = house.make_model(1), house.publish(2).digest
    copied = SnapshotFolder(folder).store()
    for digest in (named, unnamed):
        copied.publish(
            house.store.fetch(digest), kind="model", metadata=house.store.manifest(digest).metadata
        )
    manifest = folder / "artifacts" / "manifests" / named.removeprefix("sha256:")
    before = manifest.stat().st_ino
    house.save(folder)
    assert set(copied.list()) == {named}
    assert manifest.stat().st_ino == before


def test_one_backup_at_a_time_is_taken_into_a_folder(house: House, folder: Path) -> None:
    house.save(folder)
    with (folder / "lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another backup"):
            house.save(folder)
    house.save(folder)
    assert len(times(folder)) == 2


def test_what_is_being_restored_stays_until_that_is_done(
    house: House, another: House, folder: Path, tmp_path: Path
) -> None:
    digests = {house.make_model(1), house.make_model(2)}
    house.save(folder)

    def take_another() -> None:
        another.save(folder, keep=1)

    backup = threading.Thread(target=take_another)

    class Target(LocalStore):
        def publish(self, *given: Any, **facts: Any) -> ArtifactRef:
            if backup.ident is None:
                backup.start()
                while (folder / "backup-1.json").exists():
                    backup.join(0.01)
            return super().publish(*given, **facts)

    database, store = Database(f"sqlite:///{tmp_path}/restored.db"), Target(tmp_path / "restored")
    try:
        restore(database, store, folder, silence)
        assert database.read(named_artifacts) == sorted(digests)
    finally:
        database.close()
        backup.join()
    assert set(store.list()) == digests
    assert set(SnapshotFolder(folder).store().list()) == set()


def test_one_that_cannot_be_read_takes_nothing_with_it(
    house: House, another: House, folder: Path, versions: Callable[..., int]
) -> None:
    house.make_model(1)
    first = house.save(folder)
    house.save(folder)
    (folder / "backup-2.json").write_text('{"format_version": 1')
    said: list[str] = []
    assert SnapshotFolder(folder).list(said.append) == [first]
    assert "backup-2.json is not what was written" in said[0]
    with pytest.raises(DataCorrupted, match=r"backup-2\.json"):
        versions()
    with pytest.raises(DataCorrupted, match=r"the backup is written.*backup-2\.json"):
        another.save(folder, keep=2)
    assert (folder / "backup-3.json").exists()
    assert versions(snapshot=first.time) == 1
    another.save(folder, keep=2)
    assert [path.name for path in sorted(folder.glob("backup*"))] == ["backup-3.json", "backup-4.json"]


@pytest.mark.parametrize("keep", [0, -3])
def test_a_wrong_number_to_keep_is_refused_with_its_value(house: House, folder: Path, keep: int) -> None:
    with pytest.raises(InvalidInput, match=f"keep = {keep}.*such as 7"):
        house.save(folder, keep=keep)
    assert not folder.exists()


def test_what_is_no_time_is_refused_with_what_may_be_written(
    house: House, folder: Path, versions: Callable[..., int]
) -> None:
    house.save(folder)
    with pytest.raises(InvalidInput, match=r"snapshot = 'yesterday'.*write latest"):
        versions(snapshot="yesterday")


def test_a_folder_that_cannot_be_used_is_named(house: House, folder: Path) -> None:
    folder.write_text("a letter")
    with pytest.raises(InvalidInput, match=r"folder = .*backup'.*name a folder that you may write"):
        house.save(folder)


def test_a_full_disk_is_told_and_the_snapshots_that_are_there_stay(
    house: House, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.save(folder)

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vermeil_registry.snapshots.os.fsync", full)
        with pytest.raises(OutOfSpace, match=f"below {folder}, or keep fewer"):
            house.save(folder)
    assert len(times(folder)) == 1
    house.save(folder)
    assert len(times(folder)) == 2


def test_a_new_disk_is_as_good_as_a_new_folder(house: House, folder: Path) -> None:
    (folder / "lost+found").mkdir(parents=True)
    assert [house.save(folder).time] == times(folder)


def test_by_hand_snapshots_are_kept_listed_and_chosen(
    house: House, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("VERMEIL_DATABASE_URL", str(house.database.engine.url))
    monkeypatch.setenv("VERMEIL_ARTIFACTS_URL", f"file://{tmp_path}/house/artifacts")
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    for number in (1, 2):
        house.make_model(number)
        assert main("backup", str(folder)) == 0
    assert main("backup", str(folder), "--keep", "2") == 0
    last, first = times(folder)
    capsys.readouterr()
    assert main("restore", str(folder), "--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [last, first]
    assert main("backup", str(folder), "--keep", "many") == 2
    assert "keep = 'many'" in capsys.readouterr().err
    assert main("backup", str(folder), "2") == 2
    assert "backup FOLDER --keep N" in capsys.readouterr().err

    monkeypatch.setenv("VERMEIL_DATABASE_URL", f"sqlite:///{tmp_path}/restored.db")
    monkeypatch.setenv("VERMEIL_ARTIFACTS_URL", f"file://{tmp_path}/restored")
    assert main("restore", str(folder), "--snapshot", "2020-01-01T00:00:00Z") == 3
    assert first in capsys.readouterr().err
    assert main("restore", str(folder), "--snapshot", first) == 0
    assert f"of {first} and 2 artifacts" in capsys.readouterr().out
    assert main("restore", str(tmp_path / "nowhere"), "--list") == 3


def test_a_server_gives_its_rows_some_at_a_time() -> None:
    """The driver would have all rows of a table in memory before it gives the first one."""
    database = Database(postgres().new_database())
    migrate(database)
    at_once: list[str] = []

    def note(_connection: object, cursor: object, statement: str, *_more: object) -> None:
        if not isinstance(cursor, ServerCursor):
            at_once.append(statement)

    def read(connection: Connection) -> None:
        names = {table.name for table in tables(connection)}
        list(dump(connection))
        named_artifacts(connection)
        whole = [f"FROM {name}" for name in names]
        assert len(whole) > 5
        assert [each for each in at_once if any(from_table in each for from_table in whole)] == []

    event.listen(database.engine, "after_cursor_execute", note)
    try:
        database.read(read)
        assert any("alembic_version" in each for each in at_once)
    finally:
        database.close()
