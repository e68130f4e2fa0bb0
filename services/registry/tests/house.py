"""A house for tests: rows, a store, and somebody who fills both."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from minio import Minio
from vermeil_artifacts import ArtifactRef, ArtifactStore, LocalStore, open_store
from vermeil_jobs import JobOutcome, Ledger, ManualClock, NewModelVersion, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_registry.backup import back_up
from vermeil_registry.database import Database
from vermeil_registry.keys import Keys, NewKey
from vermeil_registry.snapshots import Snapshot
from vermeil_registry.storage import SqlStorage
from vermeil_testing import ceph


class House:
    """A database, a store, and somebody who fills both."""

    def __init__(self, database: Database, folder: Path, store: ArtifactStore | None = None) -> None:
        self.database, self.store = database, store or LocalStore(folder / "artifacts")
        self._work = folder / "work"
        ledger = Ledger(SqlStorage(database), RecordingDoorbell())
        self.bench = Bench(ledger, ManualClock(), RecordingDoorbell(), ledger)

    def make_model(self, number: int) -> str:
        """A job that ends with a version of a model, its bytes in the store first."""
        ref = self.publish(number)
        job = self.bench.create(request_id=f"model-{number}")
        outcome = JobOutcome(model_versions=(NewModelVersion("models/nano", ref),))
        self.bench.jobs.finish(job.name, fence=self.bench.claim(job).fence, outcome=outcome)
        return ref.digest

    def publish(self, number: int) -> ArtifactRef:
        """The files of a model that no row names."""
        folder = self._work / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_bytes(b"\x00\xff" * number)
        return self.store.publish(folder, kind="model", metadata={"n": str(number)}, provenance={"job": "x"})

    def lose(self, digest: str) -> None:
        """The store does not have it any more."""
        (self.store.root / "manifests" / digest.removeprefix("sha256:")).unlink()

    def save(self, folder: Path, **how: int) -> Snapshot:
        """A backup of it."""
        return back_up(self.database, self.store, folder, silence, **how)

    def make_key(self) -> None:
        new = NewKey("keys/0123456789abcdef", "tests", "owners/default", ("inference",), None)
        Keys(self.database).create(new, sha256(b"a secret").digest(), "key-1")

    @contextmanager
    def under_load(self) -> Iterator[Callable[[], None]]:
        """Models are made all the time; gives what waits until one more has been."""
        ended, failed = threading.Event(), list[BaseException]()
        made = threading.Semaphore(0)

        def work() -> None:
            number = 1000
            try:
                while not ended.is_set():
                    number += 1
                    self.make_model(number)
                    made.release()
            except BaseException as error:
                failed.append(error)

        def one_more() -> None:
            while made.acquire(blocking=False):
                pass
            assert made.acquire(timeout=120), failed

        thread = threading.Thread(target=work)
        thread.start()
        try:
            one_more()
            yield one_more
        finally:
            ended.set()
            thread.join()
        assert not failed


def silence(_line: str) -> None:
    """For who says nothing."""


def bucket(cache: Path, cache_bytes: float = math.inf) -> ArtifactStore:
    """A store of its own on Ceph's gateway."""
    server, name = ceph(), f"house-{uuid4().hex}"
    login = {"access_key": server.access_key, "secret_key": server.secret_key}
    Minio(server.address, **login, secure=False).make_bucket(name)
    secrets = {f"s3_{key}": value for key, value in login.items()}
    return open_store(
        f"s3://{name}/house",
        cache=cache,
        cache_bytes=cache_bytes,
        s3_endpoint=server.address,
        s3_secure=False,
        **secrets,
    )
