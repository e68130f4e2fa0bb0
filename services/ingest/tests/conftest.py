"""The service over fakes: jobs and artifacts in memory, real files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from vermeil.ingest.v1 import ingest_pb2, ingest_service_pb2
from vermeil_artifacts import LocalStore
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.tasks import job_kind
from vermeil_jobs import Job, MemoryJobs, Runner

Start = Callable[..., ingest_service_pb2.StartIngestRequest]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with three texts and one picture."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.txt").write_text(f"the text of {name}, long enough to be cut in two\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> IngestSettings:
    return IngestSettings.load(home=tmp_path / "home", ingest_roots=(str(tmp_path / "shelf"),))


@pytest.fixture
def jobs() -> MemoryJobs:
    return MemoryJobs()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "artifacts")


@pytest.fixture
def start(shelf: Path) -> Start:
    """A request for the shelf, with changes to its specification."""

    def make(request_id: str = "one", **changes: object) -> ingest_service_pb2.StartIngestRequest:
        values = {
            "dataset": "datasets/texts",
            "sources": [ingest_pb2.Source(uri=str(shelf))],
            "validation_fraction": 0.25,
            **changes,
        }
        spec = ingest_pb2.IngestSpec(**values)  # type: ignore[arg-type]
        return ingest_service_pb2.StartIngestRequest(spec=spec, request_id=request_id)

    return make


@pytest.fixture
def work(jobs: MemoryJobs, store: LocalStore, settings: IngestSettings) -> Callable[[Job], Job]:
    """Does a job as a worker would."""

    def run(job: Job) -> Job:
        done = Runner(jobs, job_kind(jobs, store, settings), settings.home).run(job.name)
        assert done
        return done

    return run
