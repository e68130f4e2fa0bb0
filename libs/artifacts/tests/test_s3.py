"""What an S3 store promises beyond the shared suite: other machines, bad networks, races."""

import base64
import fcntl
import hashlib
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from minio import Minio
from vermeil_artifacts import ArtifactStore, Collected, LocalStore
from vermeil_artifacts.cache import Cache
from vermeil_artifacts.s3 import S3Store
from vermeil_artifacts.s3_remote import Remote, Stored
from vermeil_errors import (
    DataCorrupted,
    InvalidInput,
    NotFound,
    OutOfSpace,
    PermissionDenied,
    Unavailable,
    VermeilError,
)
from vermeil_testing import ceph

BUCKET = "vermeil-tests"
OpenS3 = Callable[..., ArtifactStore]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@contextmanager
def cutting_proxy(endpoint: str, after_bytes: int) -> Iterator[str]:
    """Forwards to `endpoint`, and cuts every connection once so many bytes have come back."""
    host, _, port = endpoint.rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket, budget: int) -> None:
        with suppress(OSError):
            while budget > 0 and (data := source.recv(65536)):
                target.sendall(data[:budget])
                budget -= len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                threading.Thread(target=pump, args=(near, far, 2**40), daemon=True).start()
                threading.Thread(target=pump, args=(far, near, after_bytes), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextmanager
def server_that_says(status: int, code: str) -> Iterator[str]:
    """An S3 server that answers every request with one error."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            head_only_region = self.path.endswith("?location=")
            self.send_response(200 if head_only_region else status)
            if head_only_region:
                body = b"<LocationConstraint>us-east-1</LocationConstraint>"
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        do_GET = do_PUT = do_POST = answer  # noqa: N815 - names of the base class

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_machine_fetches_the_same_files(open_s3: OpenS3, model_folder: Path) -> None:
    ref = open_s3("here").publish(model_folder, kind="model")
    elsewhere = open_s3("elsewhere")
    assert elsewhere.exists(ref.digest)
    assert contents(elsewhere.fetch(ref)) == contents(model_folder)


def test_what_was_fetched_needs_no_server(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, model_folder: Path
) -> None:
    store = open_s3()
    ref = store.publish(model_folder, kind="model")
    for stored in list(s3_client.list_objects(BUCKET, s3_prefix, recursive=True)):
        s3_client.remove_object(BUCKET, str(stored.object_name))
    assert contents(store.fetch(ref)) == contents(model_folder)


def test_opening_one_file_downloads_nothing_else(open_s3: OpenS3, model_folder: Path, tmp_path: Path) -> None:
    ref = open_s3("here").publish(model_folder, kind="model")
    with open_s3("elsewhere").open(ref.digest, "config.json") as file:
        assert file.read() == b'{"depth": 2}'
    assert len(list((tmp_path / "elsewhere" / "blobs").iterdir())) == 1


def test_a_download_goes_on_after_the_connection_breaks(
    open_s3: OpenS3, s3_server: object, tmp_path: Path
) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "shard").write_bytes(os.urandom(5 * 2**20))
    ref = open_s3("here").publish(tmp_path / "large", kind="dataset")
    endpoint: str = s3_server.endpoint  # type: ignore[attr-defined]
    with cutting_proxy(endpoint, after_bytes=3 * 2**20) as cut:
        assert contents(open_s3("elsewhere", endpoint=cut).fetch(ref)) == contents(tmp_path / "large")


def test_a_damaged_object_is_found_by_its_reader_and_mended_by_publishing(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, model_folder: Path
) -> None:
    publisher, reader = open_s3("here"), open_s3("elsewhere")
    ref = publisher.publish(model_folder, kind="model")
    sha256 = publisher.manifest(ref.digest).entry("config.json").sha256
    key = f"{s3_prefix}/blobs/{sha256}"
    damaged = model_folder.parent / "damaged"
    damaged.write_text('{"depth": 3}')
    s3_client.fput_object(BUCKET, key, str(damaged))
    with pytest.raises(DataCorrupted, match=r"config\.json.*remove that object and publish"):
        reader.fetch(ref)
    s3_client.remove_object(BUCKET, key)
    with pytest.raises(DataCorrupted, match=r"config\.json.*is missing"):
        reader.fetch(ref)
    publisher.publish(model_folder, kind="model")
    assert contents(reader.fetch(ref)) == contents(model_folder)


def test_a_damaged_cache_is_mended_from_the_server(
    open_s3: OpenS3, model_folder: Path, tmp_path: Path
) -> None:
    store = open_s3()
    ref = store.publish(model_folder, kind="model")
    cache = tmp_path / "cache"
    blob = cache / "blobs" / store.manifest(ref.digest).entry("config.json").sha256
    for path in (blob, cache / "manifests" / ref.digest.removeprefix("sha256:")):
        path.chmod(0o644)
        path.write_text('{"depth": 3}')
        assert contents(store.fetch(ref)) == contents(model_folder)


class RacingRemote(Remote):
    """Its bucket is collected by somebody else just before a manifest becomes visible."""

    def put_bytes(self, key: str, data: bytes) -> None:
        if key.startswith("manifests/"):
            self.remove([stored.key for stored in self.list("blobs/")])
        super().put_bytes(key, data)


def test_blobs_collected_during_publication_are_uploaded_again(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, model_folder: Path, tmp_path: Path
) -> None:
    store = S3Store(RacingRemote(s3_client, BUCKET, s3_prefix), Cache(tmp_path / "racing", math.inf))
    ref = store.publish(model_folder, kind="model")
    assert contents(open_s3("elsewhere").fetch(ref)) == contents(model_folder)


def test_reused_blobs_become_young_so_that_collection_spares_them(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_s3()
    ref = store.publish(model_folder, kind="model")
    key = f"{s3_prefix}/blobs/{store.manifest(ref.digest).files[0].sha256}"
    monkeypatch.setattr("vermeil_artifacts.s3._REFRESH_AFTER", timedelta(0))
    before = s3_client.stat_object(BUCKET, key).metadata
    store.publish(model_folder, kind="model")
    after = s3_client.stat_object(BUCKET, key).metadata
    assert before is not None
    assert after is not None
    assert "x-amz-meta-refreshed" in after
    assert "x-amz-meta-refreshed" not in before
    assert contents(open_s3("elsewhere").fetch(ref)) == contents(model_folder)


class SlowToLook(Remote):
    """Two publishers who both look before either has written."""

    def stat(self, key: str) -> Stored | None:
        found = super().stat(key)
        return None if key.startswith("provenance/") else found


def test_of_two_who_publish_at_once_the_first_one_s_provenance_stays(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, model_folder: Path, tmp_path: Path
) -> None:
    first = open_s3("here").publish(model_folder, kind="model", provenance={"job": "jobs/first"})
    late = S3Store(SlowToLook(s3_client, BUCKET, s3_prefix), Cache(tmp_path / "late", math.inf))
    assert late.publish(model_folder, kind="model", provenance={"job": "jobs/second"}) == first
    assert open_s3("elsewhere").provenance(first.digest)["job"] == "jobs/first"


class AgedRemote(Remote):
    """Everything has been published again since it was listed, an hour ago."""

    def list(self, folder: str) -> Iterator[Stored]:
        for stored in super().list(folder):
            yield replace(stored, modified=stored.modified - timedelta(hours=1))


def test_what_is_published_again_while_collection_looks_is_spared(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, model_folder: Path, tmp_path: Path
) -> None:
    ref = open_s3("here").publish(model_folder, kind="model")
    collector = S3Store(AgedRemote(s3_client, BUCKET, s3_prefix), Cache(tmp_path / "collector", math.inf))
    assert collector.collect([], older_than=timedelta(minutes=30)) == Collected(0, 0, 0)
    elsewhere = open_s3("elsewhere")
    assert contents(elsewhere.fetch(ref)) == contents(model_folder)
    assert "created" in elsewhere.provenance(ref.digest)


def test_a_cache_is_not_collected_under_whoever_counts_on_what_is_there(
    open_s3: OpenS3, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was opened alone lies in the cache without a manifest, and grows old there."""
    ref = open_s3("here").publish(model_folder, kind="model")
    reader, cache = open_s3("elsewhere"), LocalStore(tmp_path / "elsewhere")
    reader.open(ref.digest, "config.json").close()
    entry, an_hour_ago = reader.manifest(ref.digest).entry("config.json"), time.time() - 3600
    os.utime(cache.file_path(entry), (an_hour_ago, an_hour_ago))
    collecting = threading.Thread(
        target=cache.collect, args=([],), kwargs={"older_than": timedelta(minutes=30)}
    )
    waits, flock = threading.Event(), fcntl.flock
    chunks, starts = Remote.chunks, iter([collecting.start])

    def watched_flock(file: Any, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            with suppress(BlockingIOError):
                flock(file, operation | fcntl.LOCK_NB)
                return
            waits.set()
        flock(file, operation)

    def collect_meanwhile(*arguments: Any) -> Iterator[bytes]:
        for start in starts:
            start()
            while collecting.is_alive() and not waits.is_set():
                collecting.join(0.01)
        yield from chunks(*arguments)

    monkeypatch.setattr(fcntl, "flock", watched_flock)
    monkeypatch.setattr(Remote, "chunks", collect_meanwhile)
    assert contents(reader.fetch(ref)) == contents(model_folder)
    collecting.join(60)
    assert not collecting.is_alive()
    assert contents(reader.fetch(ref)) == contents(model_folder)


def test_an_absent_server_is_reported_at_once_with_what_to_check(open_s3: OpenS3) -> None:
    with pytest.raises(Unavailable, match="check VERMEIL_S3_ENDPOINT"):
        open_s3(endpoint="127.0.0.1:1")


def test_an_absent_bucket_is_reported_at_once(open_s3: OpenS3) -> None:
    with pytest.raises(NotFound, match="no bucket absent-bucket"):
        open_s3(bucket="absent-bucket")


def test_a_name_that_no_bucket_has_is_refused_by_its_setting(open_s3: OpenS3) -> None:
    with pytest.raises(InvalidInput, match=r"VERMEIL_ARTIFACTS_URL.*my\+bucket"):
        open_s3(bucket="my+bucket")


def test_an_endpoint_with_a_scheme_is_refused(open_s3: OpenS3) -> None:
    with pytest.raises(InvalidInput, match=r"VERMEIL_S3_ENDPOINT.*write host:port"):
        open_s3(endpoint="http://127.0.0.1:9000/path")


@pytest.mark.parametrize(
    ("status", "code", "expected", "advice"),
    [
        (403, "AccessDenied", PermissionDenied, "VERMEIL_S3_ACCESS_KEY"),
        (403, "SignatureDoesNotMatch", PermissionDenied, "VERMEIL_S3_SECRET_KEY"),
        (400, "XMinioStorageFull", OutOfSpace, "free some space"),
        (400, "SomethingNew", Unavailable, "SomethingNew"),
    ],
)
def test_a_server_that_refuses_is_reported_at_once(
    open_s3: OpenS3, status: int, code: str, expected: type[VermeilError], advice: str
) -> None:
    with server_that_says(status, code) as endpoint, pytest.raises(expected, match=advice):
        open_s3(endpoint=endpoint)


def only_real(s3_server: object) -> None:
    if s3_server.endpoint != ceph().address:  # type: ignore[attr-defined]
        pytest.skip("moto does not check")


def test_a_wrong_secret_is_refused_and_names_its_setting(open_s3: OpenS3, s3_server: object) -> None:
    only_real(s3_server)
    with pytest.raises(PermissionDenied, match="VERMEIL_S3_SECRET_KEY"):
        open_s3(secret_key="wrong")


def test_a_body_that_does_not_match_its_checksum_is_refused_by_the_server(
    s3_server: object, s3_client: Minio, s3_prefix: str
) -> None:
    only_real(s3_server)
    link = s3_client.presigned_put_object(BUCKET, f"{s3_prefix}/body", timedelta(minutes=1))
    checksum = base64.b64encode(hashlib.md5(b"another body", usedforsecurity=False).digest()).decode()
    answer = urllib3.request("PUT", link, body=b"a body", headers={"Content-MD5": checksum})
    assert answer.status == 400
    assert list(s3_client.list_objects(BUCKET, s3_prefix, recursive=True)) == []


def test_a_server_that_was_away_gets_only_what_it_lacks(
    open_s3: OpenS3,
    s3_server: object,
    s3_client: Minio,
    s3_prefix: str,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_real(s3_server)
    store = open_s3()
    sent: list[str] = []
    kills = iter([ceph().kill])
    put_file = Remote.put_file

    def put(remote: Remote, key: str, path: Path, num_bytes: int) -> None:
        if len(sent) == 2:
            next(kills, lambda: None)()
        put_file(remote, key, path, num_bytes)
        sent.append(key)

    monkeypatch.setattr(Remote, "put_file", put)
    monkeypatch.setattr("vermeil_artifacts.s3._NUM_TRANSFERS", 1)
    try:
        with pytest.raises(Unavailable, match="VERMEIL_S3_ENDPOINT"):
            store.publish(model_folder, kind="model")
    finally:
        ceph().start()
    ref = store.publish(model_folder, kind="model")
    assert len(sent) == len(set(sent))
    assert contents(open_s3("elsewhere").fetch(ref)) == contents(model_folder)
