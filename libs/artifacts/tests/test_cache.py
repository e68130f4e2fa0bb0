"""A cache forgets what was not used for longest, and nothing that somebody uses."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vermeil_artifacts import ArtifactRef, ArtifactStore, store_from_settings, used_within
from vermeil_artifacts.cache import Cache
from vermeil_artifacts.s3_remote import Remote
from vermeil_errors import OutOfSpace
from vermeil_settings import ArtifactSettings

from .conftest import BUCKET, Server  # pants: no-infer-dep

KIB = 1024
OpenS3 = Callable[..., ArtifactStore]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """A folder of random files of 100 KiB each, or of the bytes given."""

    def make(name: str, *files: bytes) -> Path:
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True)
        for number, data in enumerate(files or [os.urandom(100 * KIB)]):
            (folder / str(number)).write_bytes(data)
        return folder

    return make


@pytest.fixture
def published(open_s3: OpenS3, made: Callable[..., Path]) -> list[ArtifactRef]:
    """Four artifacts of 100 KiB on the server."""
    return [open_s3("elsewhere").publish(made(name), kind="model") for name in "abcd"]


def here(cache: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (cache / "manifests").iterdir()}


def size_of(cache: Path) -> int:
    return sum(path.stat().st_size for path in (cache / "blobs").iterdir())


def test_what_was_not_used_for_longest_goes_first(
    open_s3: OpenS3, published: list[ArtifactRef], tmp_path: Path
) -> None:
    a, b, c, _ = published
    store = open_s3("cache", cache_bytes=250 * KIB)
    for ref in (a, b, a, c):
        with used_within():
            folder = store.fetch(ref)
    assert here(tmp_path / "cache") == {a.digest, c.digest}
    assert size_of(tmp_path / "cache") <= 250 * KIB
    assert (folder / "0").stat().st_size == 100 * KIB

    with used_within():
        assert (store.fetch(b) / "0").stat().st_size == 100 * KIB  # it comes again
    assert here(tmp_path / "cache") == {b.digest, c.digest}
    trees = {f"sha256:{path.name}" for path in (tmp_path / "cache" / "trees").iterdir()}
    assert trees == {b.digest, c.digest}


def test_the_settings_say_how_much_is_kept(
    published: list[ArtifactRef], s3_server: Server, s3_prefix: str, tmp_path: Path
) -> None:
    settings = ArtifactSettings.load(
        home=tmp_path / "home",
        artifacts_url=f"s3://{BUCKET}/{s3_prefix}",
        artifacts_cache_bytes=150 * KIB,
        s3_endpoint=s3_server.endpoint,
        s3_access_key=s3_server.access_key,
        s3_secret_key=s3_server.secret_key,
        s3_secure=False,
    )
    store = store_from_settings(settings)
    for ref in published:
        with used_within():
            store.fetch(ref)
    assert here(tmp_path / "home" / "artifacts-cache") == {published[-1].digest}


def test_what_is_used_stays_though_it_is_too_much(
    open_s3: OpenS3, published: list[ArtifactRef], tmp_path: Path
) -> None:
    store = open_s3("cache", cache_bytes=150 * KIB)
    with used_within():
        folders = [store.fetch(ref) for ref in published]
        assert [len((folder / "0").read_bytes()) for folder in folders] == [100 * KIB] * 4
    with used_within():
        store.fetch(published[2])
    assert here(tmp_path / "cache") == {published[2].digest}


def test_without_an_end_it_is_used_as_long_as_the_process_lives(
    open_s3: OpenS3, published: list[ArtifactRef]
) -> None:
    store, other = open_s3("cache", cache_bytes=0), open_s3("cache", cache_bytes=0)
    folder = store.fetch(published[0])
    with used_within():
        other.fetch(published[0])
        other.fetch(published[1])
    with used_within():
        other.fetch(published[2])
    assert (folder / "0").is_file()


USE = """
import sys
from pathlib import Path
from vermeil_artifacts.cache import Cache

cache = Cache(Path(sys.argv[1]), 0)
with cache.kept():
    cache.fetch(sys.argv[2])
    cache.use(sys.argv[2])
print("used", flush=True)
sys.stdin.read()
"""


def test_another_process_uses_it_until_it_dies(
    open_s3: OpenS3, published: list[ArtifactRef], tmp_path: Path
) -> None:
    a, b, c, _ = published
    store, cache = open_s3("cache", cache_bytes=0), tmp_path / "cache"
    with used_within():
        store.fetch(a)
        other = subprocess.Popen(
            [sys.executable, "-c", USE, str(cache), a.digest], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"used\n"
    with used_within():
        store.fetch(b)
    assert here(cache) == {a.digest, b.digest}
    other.kill()
    other.communicate()
    with used_within():
        store.fetch(c)
    assert here(cache) == {c.digest}


def test_files_that_another_artifact_has_too_stay(
    open_s3: OpenS3, made: Callable[..., Path], tmp_path: Path
) -> None:
    shared = os.urandom(100 * KIB)
    first = open_s3("elsewhere").publish(made("first", shared, b"1" * 2 * KIB), kind="model")
    second = open_s3("elsewhere").publish(made("second", shared, b"2" * 2 * KIB), kind="model")
    store = open_s3("cache", cache_bytes=102 * KIB)
    with used_within():
        store.fetch(first)
    with used_within():
        folder = store.fetch(second)
    assert here(tmp_path / "cache") == {second.digest}
    assert (folder / "0").read_bytes() == shared


def test_what_is_published_goes_through_the_cache_and_is_forgotten_like_the_rest(
    open_s3: OpenS3, made: Callable[..., Path], tmp_path: Path
) -> None:
    store = open_s3("cache", cache_bytes=250 * KIB)
    refs = [store.publish(made(name), kind="checkpoint") for name in "abcd"]
    assert here(tmp_path / "cache") == {ref.digest for ref in refs[2:]}
    for ref in refs:
        with used_within():
            assert (store.fetch(ref) / "0").stat().st_size == 100 * KIB


def test_files_opened_alone_do_not_pile_up(
    open_s3: OpenS3, published: list[ArtifactRef], tmp_path: Path
) -> None:
    store = open_s3("cache", cache_bytes=150 * KIB)
    files = [store.open(ref.digest, "0") for ref in published]
    assert size_of(tmp_path / "cache") <= 150 * KIB
    assert [len(file.read()) for file in files] == [100 * KIB] * 4
    for file in files:
        file.close()


def test_files_are_not_counted_for_every_one_that_is_read(
    open_s3: OpenS3, published: list[ArtifactRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, counted = open_s3("cache", cache_bytes=100_000 * KIB), []
    sizes = Cache._sizes
    monkeypatch.setattr(Cache, "_sizes", lambda cache: counted.append(1) or sizes(cache))
    for _ in range(3):
        for ref in published:
            store.open(ref.digest, "0").close()
            store.fetch(ref)
    assert len(counted) == 1


def test_nothing_is_forgotten_under_a_download(
    open_s3: OpenS3, published: list[ArtifactRef], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its first files have no manifest yet, and are needed by nothing."""
    store, cache = open_s3("cache", cache_bytes=0), Cache(tmp_path / "cache", 0)
    chunks, before = Remote.chunks, set[str]()

    def forget_meanwhile(*arguments: Any) -> Iterator[bytes]:
        before.update(path.name for path in (tmp_path / "cache" / "blobs").iterdir())
        other = threading.Thread(target=cache.forget, kwargs={"max_bytes": 0})
        other.start()
        other.join()
        yield from chunks(*arguments)

    with used_within():
        store.fetch(published[0])
        monkeypatch.setattr(Remote, "chunks", forget_meanwhile)
        store.fetch(published[1])
        assert here(tmp_path / "cache") == {published[0].digest, published[1].digest}
    assert before


def test_a_spoilt_manifest_is_forgotten_and_comes_again(
    open_s3: OpenS3, published: list[ArtifactRef], tmp_path: Path
) -> None:
    a, b, *_ = published
    store, cache = open_s3("cache", cache_bytes=150 * KIB), tmp_path / "cache"
    with used_within():
        store.fetch(a)
    (cache / "manifests" / a.digest.removeprefix("sha256:")).write_bytes(b"{}")
    with used_within():
        store.fetch(b)
    assert here(cache) == {b.digest}
    with used_within():
        assert (store.fetch(a) / "0").is_file()


def test_a_cache_that_cannot_be_made_smaller_still_gives_what_was_asked(
    open_s3: OpenS3,
    published: list[ArtifactRef],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise OutOfSpace("no space left while removing")

    store = open_s3("cache", cache_bytes=0)
    monkeypatch.setattr("vermeil_artifacts.cache.sweep", refuse)
    assert (store.fetch(published[0]) / "0").is_file()
    assert "could not be made smaller" in caplog.text


def test_a_full_disk_makes_room_for_what_is_asked_next(
    open_s3: OpenS3, made: Callable[..., Path], tiny_disk: Path
) -> None:
    """Of one MiB; the cache might have more."""
    store, large = open_s3(str(tiny_disk / "cache")), [os.urandom(600 * KIB) for _ in range(3)]
    refs = [store.publish(made(str(number), data), kind="model") for number, data in enumerate(large)]
    for ref, data in zip(refs, large, strict=True):
        with used_within():
            assert (store.fetch(ref) / "0").read_bytes() == data
        with store.open(ref.digest, "0") as file:
            assert file.read() == data
    with used_within():
        store.fetch(refs[0])
        with pytest.raises(OutOfSpace, match=str(tiny_disk)):
            store.fetch(refs[1])
