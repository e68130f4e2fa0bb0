"""What every store promises, whatever it is made of."""

import hashlib
import mmap
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import urllib3
from vermeil_artifacts import ArtifactRef, ArtifactStore, LocalStore, MemoryStore
from vermeil_errors import DataCorrupted, InvalidInput, NotFound

AT_ONCE = timedelta(0)
ABSENT = f"sha256:{'0' * 64}"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def folder_with(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_what_is_published_is_fetched_unchanged(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model")
    assert contents(store.fetch(ref)) == contents(model_folder)
    assert ref.kind == "model"
    assert ref.num_bytes == sum(len(data) for data in contents(model_folder).values())


def test_a_fetched_file_can_be_memory_mapped(store: ArtifactStore, model_folder: Path) -> None:
    fetched = store.fetch(store.publish(model_folder, kind="model")) / "model.safetensors"
    with fetched.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:4] == b"\x00\x01\x02\x03"


def test_fetched_files_are_read_only(store: ArtifactStore, model_folder: Path) -> None:
    fetched = store.fetch(store.publish(model_folder, kind="model"))
    assert all(path.stat().st_mode & 0o222 == 0 for path in [fetched, *fetched.rglob("*")])


def test_changing_the_source_afterwards_changes_nothing(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model")
    (model_folder / "config.json").write_text("{}")
    assert (store.fetch(ref) / "config.json").read_text() == '{"depth": 2}'


def test_the_digest_depends_on_content_only(store: ArtifactStore, tmp_path: Path) -> None:
    first = store.publish(
        folder_with(tmp_path / "a", x="1", y="2"), kind="report", provenance={"job": "jobs/a"}
    )
    again = store.publish(
        folder_with(tmp_path / "b", y="2", x="1"), kind="report", provenance={"job": "jobs/b"}
    )
    assert first == again
    others = {
        store.publish(tmp_path / "a", kind="dataset").digest,
        store.publish(tmp_path / "a", kind="report", metadata={"split": "train"}).digest,
        store.publish(folder_with(tmp_path / "c", x="1", z="2"), kind="report").digest,
    }
    assert len(others | {first.digest}) == 4


def test_provenance_of_the_first_publisher_stays(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model", provenance={"job": "jobs/first", "request_id": "r"})
    store.publish(model_folder, kind="model", provenance={"job": "jobs/second"})
    found = store.provenance(ref.digest)
    assert (found["job"], found["request_id"]) == ("jobs/first", "r")
    assert found["created"].endswith("+00:00")


def test_the_manifest_lists_files_with_their_hashes(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model", metadata={"precision": "bf16"})
    manifest = store.manifest(ref.digest)
    assert [entry.path for entry in manifest.files] == sorted(contents(model_folder))
    config = manifest.entry("config.json")
    assert config.sha256 == hashlib.sha256((model_folder / "config.json").read_bytes()).hexdigest()
    assert dict(manifest.metadata) == {"precision": "bf16"}
    assert manifest.ref == ref


def test_one_file_can_be_opened_without_the_rest(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model")
    with store.open(ref.digest, "tokenizer/tokenizer.json") as file:
        assert file.read() == b"{}"


def test_published_artifacts_are_listed_and_exist(
    store: ArtifactStore, model_folder: Path, tmp_path: Path
) -> None:
    refs = {
        store.publish(model_folder, kind="model").digest,
        store.publish(folder_with(tmp_path / "r", report="{}"), kind="report").digest,
    }
    assert set(store.list()) == refs
    assert all(store.exists(digest) for digest in refs)


def test_an_absent_artifact_is_not_found_and_named(store: ArtifactStore) -> None:
    assert not store.exists(ABSENT)
    one = (lambda digest: store.open(digest, "x"), lambda digest: store.link(digest, "x", seconds=60))
    for act in (store.manifest, store.fetch, store.provenance, *one):
        with pytest.raises(NotFound, match=ABSENT):
            act(ABSENT)


@pytest.mark.parametrize("digest", ["", "latest", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "0" * 64])
def test_a_malformed_digest_never_becomes_a_path(store: ArtifactStore, digest: str) -> None:
    for act in (store.exists, store.manifest, store.fetch, store.provenance):
        with pytest.raises(InvalidInput, match="64 hexadecimal digits"):
            act(digest)


def test_opening_a_path_that_is_not_listed_is_refused(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model")
    for path in ("../manifests", "/etc/passwd", "absent.json"):
        for act in (store.open, partial(store.link, seconds=60)):
            with pytest.raises(InvalidInput, match="no such file"):
                act(ref.digest, path)


def test_a_link_gives_exactly_the_file_to_who_has_no_key(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model")
    links = {path: store.link(ref.digest, path, seconds=600) for path in contents(model_folder)}
    if isinstance(store, LocalStore | MemoryStore):
        assert set(links.values()) == {None}
        return
    came = {path: urllib3.request("GET", str(link)) for path, link in links.items()}
    assert {path: answer.data for path, answer in came.items()} == contents(model_folder)
    kept_as = came["tokenizer/tokenizer.json"].headers["content-disposition"]
    assert kept_as == "attachment; filename*=UTF-8''tokenizer.json"


def test_a_symbolic_link_is_refused(store: ArtifactStore, model_folder: Path) -> None:
    (model_folder / "tokenizer" / "vocabulary.json").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match=r"tokenizer/vocabulary\.json.*symbolic link"):
        store.publish(model_folder, kind="model")
    assert list(store.list()) == []


def test_a_linked_subfolder_is_refused(store: ArtifactStore, model_folder: Path) -> None:
    (model_folder / "more").symlink_to("/etc")
    with pytest.raises(InvalidInput, match=r"more.*symbolic link"):
        store.publish(model_folder, kind="model")


def test_an_empty_folder_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="no files"):
        store.publish(tmp_path / "empty", kind="model")


def test_a_missing_folder_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a folder"):
        store.publish(tmp_path / "absent", kind="model")


@pytest.mark.parametrize("kind", ["", "Model", "../model", "a" * 64])
def test_a_kind_that_is_not_a_name_is_refused(store: ArtifactStore, model_folder: Path, kind: str) -> None:
    with pytest.raises(InvalidInput, match="kind"):
        store.publish(model_folder, kind=kind)


def test_a_flipped_bit_is_found_and_named(
    store: ArtifactStore, model_folder: Path, damage: Callable[[ArtifactRef, str], None]
) -> None:
    ref = store.publish(model_folder, kind="model")
    damage(ref, "model.safetensors")
    for act in (lambda: store.fetch(ref), lambda: store.open(ref.digest, "model.safetensors")):
        with pytest.raises(DataCorrupted, match=r"model\.safetensors") as caught:
            act()
        assert ref.digest in str(caught.value)
        assert "publish the same files again" in str(caught.value)


def test_publishing_again_mends_a_damaged_file(
    store: ArtifactStore, model_folder: Path, damage: Callable[[ArtifactRef, str], None]
) -> None:
    ref = store.publish(model_folder, kind="model")
    store.fetch(ref)
    damage(ref, "config.json")
    store.publish(model_folder, kind="model")
    assert contents(store.fetch(ref)) == contents(model_folder)


def test_publishing_at_the_same_time_is_harmless(store: ArtifactStore, model_folder: Path) -> None:
    refs: list[ArtifactRef] = []
    threads = [
        threading.Thread(target=lambda: refs.append(store.publish(model_folder, kind="model")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refs) == 6
    assert len(set(refs)) == 1
    assert contents(store.fetch(refs[0])) == contents(model_folder)


def test_collection_removes_what_nobody_names(
    store: ArtifactStore, model_folder: Path, tmp_path: Path
) -> None:
    shared = folder_with(tmp_path / "shared", common="kept", own="removed")
    kept = store.publish(folder_with(tmp_path / "kept", common="kept"), kind="report")
    doomed = store.publish(shared, kind="report")
    store.fetch(doomed)
    collected = store.collect([kept.digest], older_than=AT_ONCE)
    assert (collected.num_manifests, collected.num_blobs, collected.num_bytes) == (1, 1, len("removed"))
    assert list(store.list()) == [kept.digest]
    assert contents(store.fetch(kept)) == {"common": b"kept"}
    with pytest.raises(NotFound):
        store.fetch(doomed)


def test_collection_spares_the_young(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model")
    collected = store.collect([], older_than=timedelta(hours=1))
    assert (collected.num_manifests, collected.num_blobs, collected.num_bytes) == (0, 0, 0)
    assert contents(store.fetch(ref)) == contents(model_folder)


def test_a_collected_artifact_can_be_published_again(store: ArtifactStore, model_folder: Path) -> None:
    ref = store.publish(model_folder, kind="model")
    store.collect([], older_than=AT_ONCE)
    assert store.publish(model_folder, kind="model") == ref
    assert contents(store.fetch(ref)) == contents(model_folder)
