"""Large files travel in parts: what came of an upload that broke off is gone on with."""

import hashlib
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from minio import Minio
from vermeil_artifacts import ArtifactStore
from vermeil_artifacts.cache import Cache
from vermeil_artifacts.s3 import S3Store
from vermeil_artifacts.s3_parts import unfinished
from vermeil_artifacts.s3_remote import Remote
from vermeil_errors import Unavailable
from vermeil_testing import ceph

BUCKET = "vermeil-tests"
OpenS3 = Callable[..., ArtifactStore]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_large_file_travels_in_parts(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermeil_artifacts.s3_remote.PART_BYTES", 5 * 2**20)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "shard").write_bytes(os.urandom(12 * 2**20))
    store = open_s3()
    ref = store.publish(tmp_path / "large", kind="dataset")
    sha256 = store.manifest(ref.digest).files[0].sha256
    assert str(s3_client.stat_object(BUCKET, f"{s3_prefix}/blobs/{sha256}").etag).endswith("-3")
    assert contents(open_s3("elsewhere").fetch(ref)) == contents(tmp_path / "large")


class Breaking(Minio):
    """Sends one part after the other, and loses its connection before the third."""

    def _upload_part(self, *arguments: Any) -> str:
        if arguments[-1] == 3:
            raise urllib3.exceptions.ProtocolError("cut")
        return super()._upload_part(*arguments)


def test_an_upload_that_broke_off_is_gone_on_with_by_whoever_comes_next(
    open_s3: OpenS3,
    s3_server: Any,
    s3_client: Minio,
    s3_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vermeil_artifacts.s3_remote.PART_BYTES", 5 * 2**20)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "shard").write_bytes(os.urandom(23 * 2**20))
    login = {"access_key": s3_server.access_key, "secret_key": s3_server.secret_key}
    broken = Breaking(s3_server.endpoint, **login, secure=False)
    with pytest.raises(Unavailable, match="cut"):
        S3Store(Remote(broken, BUCKET, s3_prefix), Cache(tmp_path / "broken", math.inf)).publish(
            tmp_path / "large", kind="dataset"
        )
    sent, upload = [], Minio._upload_part

    def count(self: Minio, *arguments: Any) -> str:
        sent.append(arguments[-1])
        return upload(self, *arguments)

    (begun,) = unfinished(s3_client, BUCKET, s3_prefix)
    # A part that is not what it should be is not relied on.
    s3_client._upload_part(BUCKET, begun[0], bytes(5 * 2**20), None, begun[1], 2)
    monkeypatch.setattr(Minio, "_upload_part", count)
    store = open_s3()
    ref = store.publish(tmp_path / "large", kind="dataset")
    assert sorted(sent) in ([2, 3], [2, 3, 4], [2, 3, 5], [2, 3, 4, 5]), "the first part was there"
    assert contents(open_s3("elsewhere").fetch(ref)) == contents(tmp_path / "large")
    assert list(unfinished(s3_client, BUCKET, s3_prefix)) == []


def test_two_who_send_the_parts_of_one_upload_at_once_both_succeed(
    open_s3: OpenS3, s3_client: Minio, s3_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermeil_artifacts.s3_remote.PART_BYTES", 5 * 2**20)
    data = os.urandom(12 * 2**20)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "shard").write_bytes(data)
    key = f"{s3_prefix}/blobs/{hashlib.sha256(data).hexdigest()}"
    s3_client._create_multipart_upload(BUCKET, key, {})
    stores, together, alone = [open_s3("one"), open_s3("two")], threading.Barrier(2), threading.Lock()
    complete = Minio._complete_multipart_upload

    def meet(*arguments: Any) -> Any:
        together.wait(240)
        with alone:
            return complete(*arguments)

    monkeypatch.setattr(Minio, "_complete_multipart_upload", meet)
    with ThreadPoolExecutor(2) as pool:
        refs = list(pool.map(lambda store: store.publish(tmp_path / "large", kind="dataset"), stores))
    assert refs[0] == refs[1]
    assert contents(open_s3("elsewhere").fetch(refs[0])) == contents(tmp_path / "large")


def test_an_upload_that_nobody_goes_on_with_is_collected(
    open_s3: OpenS3, s3_server: Any, s3_client: Minio, s3_prefix: str
) -> None:
    if s3_server.endpoint != ceph().address:
        pytest.skip("moto tells one time of all uploads")
    upload = s3_client._create_multipart_upload(BUCKET, f"{s3_prefix}/blobs/{64 * 'a'}", {})
    s3_client._upload_part(BUCKET, f"{s3_prefix}/blobs/{64 * 'a'}", bytes(2**20), None, upload, 1)
    store = open_s3()
    store.collect([], older_than=timedelta(hours=1))
    assert len(list(unfinished(s3_client, BUCKET, s3_prefix))) == 1
    store.collect([], older_than=timedelta(seconds=-60))
    assert list(unfinished(s3_client, BUCKET, s3_prefix)) == []
