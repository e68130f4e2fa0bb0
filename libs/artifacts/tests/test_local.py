"""What a local store promises when processes die, race, or run out of disk."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from vermeil_artifacts import ArtifactRef, LocalStore
from vermeil_errors import DataCorrupted, InvalidInput, OutOfSpace, Unavailable

AT_ONCE = timedelta(0)

DIE_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
from vermeil_artifacts import LocalStore

def dying(function):
    def call(*arguments, **keywords):
        global calls
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return function(*arguments, **keywords)
    return call

for step in range(100):
    store = LocalStore(Path(sys.argv[1], str(step)))
    child = os.fork()
    if not child:
        calls = 0
        for name in ("open", "fsync", "replace", "rename", "link", "mkdir", "fchmod"):
            setattr(os, name, dying(getattr(os, name)))
        store.publish(Path(sys.argv[2]), kind="model")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""

PUBLISH_MANY = """
import sys
from pathlib import Path
from datetime import timedelta
from vermeil_artifacts import LocalStore

store = LocalStore(Path(sys.argv[1]))
for number in range(12):
    ref = store.publish(Path(sys.argv[2]), kind="model")
    store.fetch(ref)
    store.collect([ref.digest], older_than=timedelta(0))
print(ref.digest)
"""


def files_below(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def test_killed_at_any_step_it_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_text("a" * 3000)
    (folder / "inner" / "b").write_text("b")
    command = [sys.executable, "-c", DIE_AT_EVERY_STEP, str(tmp_path / "stores"), str(folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""
    roots = sorted((tmp_path / "stores").iterdir(), key=lambda root: int(root.name))
    outcomes = []
    for store in map(LocalStore, roots):
        present = list(store.list())
        outcomes.append(len(present))
        for digest in present:
            assert (store.fetch(digest) / "inner" / "b").read_text() == "b"
            assert "created" in store.provenance(digest)
        assert [store.publish(folder, kind="model").digest] == list(store.list())
        store.collect([], older_than=AT_ONCE)
        assert files_below(store.root) == ["lock"]
    assert len(outcomes) > 15
    assert (outcomes[0], outcomes[-1]) == (0, 1)
    assert outcomes == sorted(outcomes)


def test_a_power_cut_after_a_publication_takes_nothing_of_it(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    sync = os.fsync

    def note(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    store = LocalStore(tmp_path / "store")
    store.publish(model_folder, kind="model")
    folders = [store.root / name for name in ("blobs", "manifests", "provenance")]
    kept = [path for folder in folders for path in (folder, *folder.iterdir())]
    assert [str(path) for path in kept if path.stat().st_ino not in synced] == []


def test_a_power_cut_in_a_collection_leaves_no_artifact_without_its_files(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    store.publish(model_folder, kind="model")
    manifests = (store.root / "manifests").stat().st_ino
    steps: list[str] = []
    sync, unlink = os.fsync, os.unlink

    def note_sync(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == manifests:
            steps.append("sync manifests")
        sync(descriptor)

    def note_unlink(path: Path, **options: int | None) -> None:
        steps.append(f"unlink {Path(path).parent.name}")
        unlink(path, **options)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "unlink", note_unlink)
    store.collect([], older_than=timedelta(0))
    assert steps.index("unlink manifests") < steps.index("sync manifests") < steps.index("unlink blobs")


def test_a_file_with_as_many_links_as_it_may_have_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ext4 allows 65,000: a hundred folders that hold the same empty file 650 times."""
    link = os.link

    def link_three_times(source: Path, target: Path) -> None:
        if source.stat().st_nlink == 3:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), source, None, target)
        link(source, target)

    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abcd":
        (folder / name).write_text("the same")
    monkeypatch.setattr(os, "link", link_three_times)
    store = LocalStore(tmp_path / "store")
    tree = store.fetch(store.publish(folder, kind="model"))
    files = sorted(tree.iterdir())
    assert [file.read_text() for file in files] == ["the same"] * 4
    assert sorted(file.stat().st_nlink for file in files) == [1, 1, 3, 3]
    copy = next(file for file in files if file.stat().st_nlink == 1)
    assert copy.stat().st_mode & 0o222 == 0
    copy.chmod(0o644)
    copy.write_text("spoiled!")
    again = store.fetch(next(store.list()))
    assert [file.read_text() for file in sorted(again.iterdir())] == ["the same"] * 4


def test_processes_publish_fetch_and_collect_at_the_same_time(tmp_path: Path, model_folder: Path) -> None:
    command = [sys.executable, "-c", PUBLISH_MANY, str(tmp_path / "store"), str(model_folder)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    results = [process.communicate() for process in processes]
    assert [error for _, error in results] == [""] * 4
    assert len({digest for digest, _ in results}) == 1
    store = LocalStore(tmp_path / "store")
    assert store.fetch(results[0][0].strip()).is_dir()
    assert not list((store.root / "incoming").iterdir())


def test_collection_spares_what_is_being_published(tmp_path: Path, model_folder: Path) -> None:
    store = LocalStore(tmp_path / "store")
    other = LocalStore(tmp_path / "store")

    class CollectingFolder(type(model_folder)):  # type: ignore[misc]
        """Its owner collects garbage whenever one of its files is opened."""

        def __truediv__(self, name: str) -> Path:
            other.collect([], older_than=AT_ONCE)
            return Path(self).joinpath(name)

    ref = store.publish(CollectingFolder(model_folder), kind="model")
    assert (store.fetch(ref) / "config.json").exists()


def test_a_full_disk_is_reported_and_leaves_nothing_half_published(tiny_disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(3 * 2**20))
    store = LocalStore(tiny_disk / "store")
    with pytest.raises(OutOfSpace, match="no space left") as caught:
        store.publish(folder, kind="model")
    assert str(store.root) in str(caught.value)
    assert list(store.list()) == []
    assert files_below(store.root) == ["lock"]
    (folder / "large").write_text("small now")
    assert store.exists(store.publish(folder, kind="model").digest)


@pytest.mark.parametrize("failing", ["fsync", "replace", "open"])
def test_a_failing_disk_is_reported_and_leaves_nothing_half_published(
    failing: str, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    working = getattr(os, failing)

    def fail(target: object, *arguments: object, **keywords: object) -> object:
        if failing == "open" and not str(target).startswith(str(store.root)):
            return working(target, *arguments, **keywords)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OutOfSpace):
        store.publish(model_folder, kind="model")
    monkeypatch.undo()
    assert list(store.list()) == []
    store.collect([], older_than=AT_ONCE)
    assert files_below(store.root) == ["lock"]


def test_an_input_output_error_names_the_store(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Unavailable, match=str(store.root)):
        store.publish(model_folder, kind="model")


def test_a_manifest_that_cannot_be_read_names_the_store(tmp_path: Path, model_folder: Path) -> None:
    store = LocalStore(tmp_path / "store")
    ref = store.publish(model_folder, kind="model")
    path = store.root / "manifests" / ref.digest.removeprefix("sha256:")
    path.unlink()
    path.mkdir()
    with pytest.raises(Unavailable, match=str(store.root)):
        store.manifest(ref.digest)


def test_a_place_that_cannot_hold_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be used"):
        LocalStore(tmp_path / "file" / "store")


def test_a_process_notices_a_change_after_it_has_verified(
    tmp_path: Path, model_folder: Path, damage_file: Callable[[LocalStore, ArtifactRef, str], None]
) -> None:
    store = LocalStore(tmp_path / "store")
    ref = store.publish(model_folder, kind="model")
    store.fetch(ref)
    damage_file(store, ref, "model.safetensors")
    with pytest.raises(DataCorrupted, match=r"model\.safetensors"):
        store.fetch(ref)


def test_a_truncated_and_a_missing_blob_are_found(tmp_path: Path, model_folder: Path) -> None:
    store = LocalStore(tmp_path / "store")
    ref = store.publish(model_folder, kind="model")
    blob = store.root / "blobs" / store.manifest(ref.digest).entry("config.json").sha256
    blob.chmod(0o644)
    blob.write_text('{"depth"')
    with pytest.raises(DataCorrupted, match=r"config\.json.*does not match"):
        store.fetch(ref)
    blob.unlink()
    with pytest.raises(DataCorrupted, match=r"config\.json.*is missing"):
        store.fetch(ref)


def test_a_damaged_manifest_is_found_and_stops_collection(tmp_path: Path, model_folder: Path) -> None:
    store = LocalStore(tmp_path / "store")
    ref = store.publish(model_folder, kind="model")
    path = store.root / "manifests" / ref.digest.removeprefix("sha256:")
    path.write_text(path.read_text().replace("config", "konfig"))
    before = files_below(store.root)
    with pytest.raises(DataCorrupted, match="manifest"):
        store.fetch(ref)
    with pytest.raises(DataCorrupted, match="manifest"):
        store.collect([ref.digest], older_than=AT_ONCE)
    assert files_below(store.root) == before


def test_a_file_deleted_from_a_fetched_folder_comes_back(tmp_path: Path, model_folder: Path) -> None:
    store = LocalStore(tmp_path / "store")
    ref = store.publish(model_folder, kind="model")
    (store.fetch(ref) / "tokenizer" / "tokenizer.json").unlink()
    assert (store.fetch(ref) / "tokenizer" / "tokenizer.json").read_text() == "{}"


def test_the_same_content_is_stored_once(tmp_path: Path, model_folder: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (model_folder / "copy.safetensors").write_bytes((model_folder / "model.safetensors").read_bytes())
    store.fetch(store.publish(model_folder, kind="model"))
    blobs = list((store.root / "blobs").iterdir())
    assert len(blobs) == len({path.read_bytes() for path in model_folder.rglob("*") if path.is_file()})


def test_a_file_removed_while_publishing_is_reported(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    monkeypatch.setattr("vermeil_artifacts.local.list_files", lambda folder: ["gone"])
    with pytest.raises(InvalidInput, match=r"gone.*cannot be read"):
        store.publish(model_folder, kind="model")


def test_a_pipe_is_refused(tmp_path: Path, model_folder: Path) -> None:
    os.mkfifo(model_folder / "pipe")
    with pytest.raises(InvalidInput, match=r"pipe.*neither a file nor a folder"):
        LocalStore(tmp_path / "store").publish(model_folder, kind="model")


def test_provenance_is_plain_json_beside_the_manifest(tmp_path: Path, model_folder: Path) -> None:
    store = LocalStore(tmp_path / "store")
    ref = store.publish(model_folder, kind="model", provenance={"job": "jobs/7"})
    path = store.root / "provenance" / ref.digest.removeprefix("sha256:")
    assert json.loads(path.read_bytes())["job"] == "jobs/7"
