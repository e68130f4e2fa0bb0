"""A power cut at any moment of a backup takes no snapshot of those that were in the folder."""

import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from vermeil_artifacts import LocalStore
from vermeil_registry.dump import dump
from vermeil_registry.snapshots import Snapshot, SnapshotFolder

from .house import House


class PowerCut(BaseException):
    """Nobody catches it."""


class Disk:
    """What is done to names and synced, in order; after so many steps there is no power any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_steps: float = float("inf")) -> None:
        self.steps: list[tuple[str, str]] = []
        self._power = num_steps
        for name in ("replace", "unlink", "link", "rename", "mkdir"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        monkeypatch.setattr(
            os, "fsync", self._watched("fsync", os.fsync, lambda given: str(os.fstat(given).st_ino))
        )

    def _watched(
        self, verb: str, act: Callable[..., None], name: Callable[[Any], str] = str
    ) -> Callable[..., None]:
        def watched(*given: Any, **options: Any) -> None:
            if len(self.steps) >= self._power:
                raise PowerCut
            self.steps.append((verb, name(given[-1] if verb in ("replace", "link") else given[0])))
            act(*given, **options)

        return watched

    def index(self, verb: str, path: str, *, last: bool = False) -> int:
        """Where the first, or the last, such step is among all."""
        found = [at for at, step in enumerate(self.steps) if step[0] == verb and Path(step[1]).match(path)]
        return found[-1 if last else 0]


@pytest.fixture
def folder(house: House, another: House, tmp_path: Path) -> Path:
    """Two snapshots; a third that keeps two takes the first away, and its artifact with it."""
    folder = tmp_path / "backup"
    house.make_model(1)
    house.save(folder)
    another.make_model(2)
    another.save(folder)
    another.make_model(3)
    return folder


def assert_whole(folder: Path, snapshot: Snapshot) -> None:
    rows = SnapshotFolder(folder).rows_file(snapshot.rows).read_bytes()
    assert sha256(rows).hexdigest() == snapshot.rows
    store = LocalStore(folder / "artifacts")
    for digest in snapshot.artifacts:
        assert (store.fetch(digest) / "weights").read_bytes()


def test_a_power_cut_at_any_moment_leaves_every_snapshot_whole(
    another: House, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = another.database.read(lambda connection: list(dump(connection)))
    monkeypatch.setattr("vermeil_registry.backup.dump", lambda _connection: rows)  # read once, for speed
    newer, older = SnapshotFolder(folder).list(pytest.fail)
    left = set[tuple[Snapshot, ...]]()
    for num_steps in count():
        cut = tmp_path / f"cut-{num_steps}"
        shutil.copytree(folder, cut)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, num_steps)
            try:
                another.save(cut, keep=2)
                break
            except PowerCut:
                pass
        found = SnapshotFolder(cut).list(pytest.fail)
        for each in found:
            assert_whole(cut, each)
        left.add(tuple(each for each in found if each in (newer, older)))
        taken = another.save(cut, keep=2)
        (last, before) = SnapshotFolder(cut).list(pytest.fail)
        assert last == taken
        assert_whole(cut, last)
        assert_whole(cut, before)
    assert left == {(newer, older), (newer,)}


def test_nothing_goes_before_what_takes_its_place_is_on_the_disk(
    another: House, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        another.save(folder, keep=2)
    there = disk.index("replace", "backup/backup-3.json")
    dropped = disk.index("unlink", "backup/backup-1.json")
    manifest = disk.index("unlink", "backup/artifacts/manifests/*", last=True)
    blob = disk.index("unlink", "backup/artifacts/blobs/*")
    rows = disk.index("unlink", "backup/rows-*.jsonl")

    def synced(what: Path, begin: int, end: int) -> bool:
        return ("fsync", str(what.stat().st_ino)) in disk.steps[begin:end]

    assert disk.index("replace", "backup/rows-*.jsonl") < there < dropped < manifest < blob
    assert synced(folder, disk.index("replace", "backup/rows-*.jsonl"), there)
    assert synced(folder, there, dropped)
    assert synced(folder, dropped, min(manifest, rows))
    assert synced(folder / "artifacts" / "manifests", manifest, blob)
