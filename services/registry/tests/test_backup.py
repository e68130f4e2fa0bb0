"""Backup under load, restore into empty servers of either kind: all is there, or it is said what is not."""

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from vermeil_artifacts import LocalStore
from vermeil_errors import Conflict, DataCorrupted, InvalidInput, NotFound
from vermeil_jobs import JobState, Ledger, RecordingDoorbell
from vermeil_registry.backup import back_up, restore
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.database import Database
from vermeil_registry.dump import dump
from vermeil_registry.keys import Keys
from vermeil_registry.migrate import migrate
from vermeil_registry.snapshots import SnapshotFolder
from vermeil_registry.storage import SqlStorage
from vermeil_testing import postgres

from .conftest import Databases  # pants: no-infer-dep
from .house import House, bucket, silence


@pytest.fixture(params=["into a file", "into a server"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes empty databases of one kind; of either kind come the ones that are backed up."""
    opened = []

    def make() -> Database:
        url = f"sqlite:///{tmp_path}/new-{len(opened)}.db"
        opened.append(Database(url if request.param == "into a file" else postgres().new_database()))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def rows(database: Database) -> list[bytes]:
    return database.read(lambda connection: list(dump(connection)))


def test_what_was_backed_up_is_all_there_in_empty_servers(
    any_house: House, empty: Callable[[], Database], tmp_path: Path
) -> None:
    digests = [any_house.make_model(number) for number in range(1, 4)]
    running = any_house.bench.create()
    any_house.bench.claim(running)
    any_house.make_key()
    back_up(any_house.database, any_house.store, tmp_path / "backup", silence)

    database, store = empty(), LocalStore(tmp_path / "restored")
    restore(database, store, tmp_path / "backup", silence)
    assert rows(database) == rows(any_house.database)
    for digest in digests:
        assert store.manifest(digest) == any_house.store.manifest(digest)
        assert store.provenance(digest) == any_house.store.provenance(digest)
        assert (store.fetch(digest) / "weights").read_bytes()
    again = House(database, tmp_path / "again")
    assert Catalogue(database).get_version("models", "models/nano").name == "models/nano/versions/3"
    assert again.bench.jobs.get(running.name).state is JobState.RUNNING
    assert Keys(database).check("keys/0123456789abcdef", sha256(b"a secret").digest())
    # What comes next is counted on, not over what was.
    again.make_model(9)
    assert Catalogue(database).get_version("models", "models/nano").name == "models/nano/versions/4"


def test_a_backup_under_load_is_of_one_moment(any_house: House, tmp_path: Path) -> None:
    for number in range(1, 4):
        any_house.make_model(number)
    with any_house.under_load():
        made = back_up(any_house.database, any_house.store, tmp_path / "backup", silence)
    restored = Database(f"sqlite:///{tmp_path}/restored.db")
    restore(restored, LocalStore(tmp_path / "restored"), tmp_path / "backup", silence)
    try:
        newest = Catalogue(restored).get_version("models", "models/nano")
        assert newest.artifact.digest in made.artifacts
        ended = text("SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'")
        num_ended = restored.read(lambda connection: connection.scalar(ended))
        assert num_ended == int(newest.name.rpartition("/")[2]) == len(made.artifacts)
    finally:
        restored.close()


@pytest.mark.slow
def test_real_servers_that_work_are_backed_up_and_brought_back_into_empty_real_servers(
    tmp_path: Path,
) -> None:
    servers = [Database(postgres().new_database()) for _ in range(2)]
    busy, empty = servers
    migrate(busy)
    house = House(busy, tmp_path / "house", bucket(tmp_path / "cache"))
    names = [house.make_model(number) for number in range(1, 4)]
    with house.under_load():
        made = back_up(busy, house.store, tmp_path / "backup", silence)
    assert set(names) <= set(made.artifacts)
    store = bucket(tmp_path / "new-cache")
    restore(empty, store, tmp_path / "backup", silence)
    try:
        kept, again = Catalogue(empty), Ledger(SqlStorage(empty), RecordingDoorbell())
        versions, token = kept.list_versions("models", "models/nano", 1000, "")
        while token:
            more, token = kept.list_versions("models", "models/nano", 1000, token)
            versions += more
        assert {version.artifact.digest for version in versions} == set(made.artifacts)
        for version in versions:
            number = int(store.manifest(version.artifact.digest).metadata["n"])
            assert (store.fetch(version.artifact.digest) / "weights").read_bytes() == b"\x00\xff" * number
            assert version == Catalogue(busy).get_version("models", version.name)
            assert again.get(version.job) == house.bench.jobs.get(version.job)
            assert again.get(version.job).state is JobState.SUCCEEDED
    finally:
        for each in servers:
            each.close()


@pytest.mark.slow
def test_a_backup_of_a_bucket_needs_no_room_for_all_of_it_in_the_cache(house: House, tmp_path: Path) -> None:
    stored = House(house.database, tmp_path / "stored", bucket(tmp_path / "cache", cache_bytes=1))
    digests = {stored.make_model(number) for number in range(1, 4)}
    made = stored.save(tmp_path / "backup")
    assert set(made.artifacts) == digests
    assert made.lost == ()
    assert len(list((tmp_path / "cache" / "blobs").iterdir())) <= 1


def test_a_house_that_has_data_is_not_restored_over(house: House, tmp_path: Path) -> None:
    house.make_model(1)
    back_up(house.database, house.store, tmp_path / "backup", silence)
    before = rows(house.database)
    with pytest.raises(Conflict, match="has rows already"):
        restore(house.database, house.store, tmp_path / "backup", silence)
    assert rows(house.database) == before


def test_a_backup_that_was_broken_off_is_gone_on_with(house: House, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "backup.json.new").write_text("{")
    made = back_up(house.database, house.store, tmp_path / "backup", silence)
    assert SnapshotFolder(tmp_path / "backup").list(silence) == [made]


def test_a_power_cut_after_a_backup_takes_neither_its_rows_nor_its_list(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    sync = os.fsync

    def note(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    back_up(house.database, house.store, tmp_path / "backup", silence)
    files = [path for path in (tmp_path / "backup").iterdir() if path.suffix in (".json", ".jsonl")]
    assert len(files) == 2
    assert [path for path in (tmp_path / "backup", *files) if path.stat().st_ino not in synced] == []


@pytest.mark.parametrize("what", ["rows", "blob", "manifest"])
def test_a_damaged_backup_restores_nothing(house: House, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "backup"
    house.make_model(1)
    back_up(house.database, house.store, folder, silence)
    (file,) = {
        "rows": folder.glob("*.jsonl"),
        "blob": (folder / "artifacts/blobs").iterdir(),
        "manifest": folder.glob("backup-1.json"),
    }[what]
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1])
    empty = Database(f"sqlite:///{tmp_path}/empty.db")
    try:
        with pytest.raises(DataCorrupted):
            restore(empty, LocalStore(tmp_path / "restored"), folder, silence)
        assert inspect(empty.engine).get_table_names() == []
    finally:
        empty.close()


def test_what_the_store_lost_is_said_and_the_rest_is_saved(house: House, tmp_path: Path) -> None:
    kept, lost = house.make_model(1), house.make_model(2)
    (house.store.root / "manifests" / lost.removeprefix("sha256:")).unlink()
    with pytest.raises(DataCorrupted, match=f"lost 1 artifacts: {lost}"):
        back_up(house.database, house.store, tmp_path / "backup", silence)
    (made,) = SnapshotFolder(tmp_path / "backup").list(silence)
    assert made.lost == (lost,)
    assert set(made.artifacts) == {kept, lost}


def test_a_folder_with_something_else_is_not_written_into(house: House, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InvalidInput, match=r"letter\.txt"):
        back_up(house.database, house.store, tmp_path / "mine", silence)
    with pytest.raises(NotFound, match=r"backup-1\.json"):
        restore(house.database, house.store, tmp_path / "mine", silence)
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_an_older_backup_is_restored_and_brought_up_to_date(databases: Databases, tmp_path: Path) -> None:
    old = databases.open(databases.empty_url())
    migrate(old)
    house = House(old, tmp_path / "house")
    house.make_model(1)
    migrate(old, to="0001")
    made = back_up(old, house.store, tmp_path / "backup", silence)
    assert made.revision == "0001"
    new = databases.open(databases.empty_url())
    restore(new, LocalStore(tmp_path / "restored"), tmp_path / "backup", silence)
    assert Catalogue(new).get_version("models", "models/nano").name == "models/nano/versions/1"
    House(new, tmp_path / "again").make_key()


def test_a_backup_of_a_newer_version_is_refused_before_anything_is_written(
    house: House, tmp_path: Path
) -> None:
    with house.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    back_up(house.database, house.store, tmp_path / "backup", silence)
    empty = Database(f"sqlite:///{tmp_path}/empty.db")
    try:
        with pytest.raises(Conflict, match="9999"):
            restore(empty, LocalStore(tmp_path / "restored"), tmp_path / "backup", silence)
    finally:
        empty.close()
