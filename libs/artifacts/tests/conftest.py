"""Every store under one name: a test that takes `store` runs on each of them."""

import math
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from minio import Minio
from moto.server import ThreadedMotoServer
from vermeil_artifacts import ArtifactRef, ArtifactStore, LocalStore, MemoryStore, open_store
from vermeil_testing import ceph

BUCKET = "vermeil-tests"


@dataclass(frozen=True)
class Server:
    """An S3 server to test on."""

    endpoint: str
    access_key: str
    secret_key: str


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Stores of each kind; those on S3 on moto, which is quick, and on Ceph, which is real."""
    if "store" in metafunc.fixturenames:
        kinds = [("local", None), ("memory", None), ("s3", "moto"), ("s3", "ceph")]
        names = ["local", "memory", "moto", "ceph"]
        metafunc.parametrize(("store", "s3_server"), kinds, ids=names, indirect=True)
    elif "s3_server" in metafunc.fixturenames:
        metafunc.parametrize("s3_server", ["moto", "ceph"], indirect=True)


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Server(f"{host}:{port}", "tests", "tests-secret")
    server.stop()


@pytest.fixture
def s3_server(request: pytest.FixtureRequest) -> Server | None:
    if request.param == "ceph":
        real = ceph()
        return Server(real.address, real.access_key, real.secret_key)
    return request.getfixturevalue("moto") if request.param else None


@pytest.fixture
def s3_client(s3_server: Server) -> Minio:
    """Goes behind the stores' backs; its bucket is called vermeil-tests."""
    client = Minio(s3_server.endpoint, s3_server.access_key, s3_server.secret_key, secure=False)
    if not client.bucket_exists(BUCKET):
        client.make_bucket(BUCKET)
    return client


@pytest.fixture
def s3_prefix() -> str:
    return uuid4().hex


@pytest.fixture
def open_s3(
    s3_server: Server, s3_client: Minio, s3_prefix: str, tmp_path: Path
) -> Callable[..., ArtifactStore]:
    """Opens the test's S3 store as a machine with the named cache would; options win over the defaults."""

    def open_one(
        cache: str = "cache", bucket: str = BUCKET, cache_bytes: float = math.inf, **options: str
    ) -> ArtifactStore:
        return open_store(
            f"s3://{bucket}/{s3_prefix}",
            cache=tmp_path / cache,
            cache_bytes=cache_bytes,
            s3_endpoint=options.get("endpoint", s3_server.endpoint),
            s3_access_key=s3_server.access_key,
            s3_secret_key=options.get("secret_key", s3_server.secret_key),
            s3_secure=False,
            s3_public_endpoint=options.get("public_endpoint", f"http://{s3_server.endpoint}"),
        )

    return open_one


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, s3_server: Server | None) -> ArtifactStore:
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    if request.param == "memory":
        return MemoryStore()
    opened: ArtifactStore = request.getfixturevalue("open_s3")()
    return opened


@pytest.fixture
def damage(
    store: ArtifactStore, request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[ArtifactRef, str], None]:
    """Flips one bit of a stored file behind the store's back."""

    def flip(ref: ArtifactRef, path: str) -> None:
        sha256 = store.manifest(ref.digest).entry(path).sha256
        if isinstance(store, LocalStore):
            _flip_file(store.root / "blobs" / sha256)
        elif isinstance(store, MemoryStore):
            store.blobs[sha256] = _flipped(store.blobs[sha256])
        else:
            client, prefix = request.getfixturevalue("s3_client"), request.getfixturevalue("s3_prefix")
            _flip_object(client, f"{prefix}/blobs/{sha256}", tmp_path)
            (tmp_path / "cache" / "blobs" / sha256).unlink()

    return flip


@pytest.fixture
def damage_file() -> Callable[[LocalStore, ArtifactRef, str], None]:
    """The same for a local store that is not the fixture's."""

    def flip(store: LocalStore, ref: ArtifactRef, path: str) -> None:
        _flip_file(store.root / "blobs" / store.manifest(ref.digest).entry(path).sha256)

    return flip


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "config.json").write_text('{"depth": 2}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    (folder / "empty.txt").touch()
    return folder


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _flip_file(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(_flipped(path.read_bytes()))


def _flip_object(client: Minio, key: str, tmp_path: Path) -> None:
    copy = tmp_path / "object"
    client.fget_object(BUCKET, key, str(copy))
    copy.write_bytes(_flipped(copy.read_bytes()))
    client.fput_object(BUCKET, key, str(copy))
