"""What callers of the ingest service may rely on, from request to dataset version."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vermeil.ingest.v1 import ingest_pb2
from vermeil.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from vermeil.job.v1 import job_pb2
from vermeil_artifacts import LocalStore
from vermeil_data import open_dataset
from vermeil_errors import InvalidInput, NotFound, PermissionDenied, VermeilError
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.submit import submit
from vermeil_ingest.tasks import job_kind
from vermeil_ingest.wiring import build
from vermeil_jobs import Job, JobContext, JobState, MemoryJobs, NewDatasetVersion
from vermeil_rpc import connect
from vermeil_rpc.testing import running

Start = Callable[..., Any]
Work = Callable[[Job], Job]


def test_a_request_becomes_a_job_and_the_job_a_dataset_version(
    start: Start, work: Work, jobs: MemoryJobs, store: LocalStore, settings: IngestSettings
) -> None:
    done = work(submit(start(), jobs, settings.roots))
    assert done.state is JobState.SUCCEEDED
    assert done.result["dataset_version"] == "datasets/texts/versions/1"
    version, job = jobs.rows.versions["datasets/texts/versions/1"]
    assert isinstance(version, NewDatasetVersion)
    assert job == done.name
    assert version.artifact == done.outputs["dataset"]
    assert version.artifact.kind == "dataset"
    dataset = open_dataset(store.fetch(version.artifact))
    dataset.verify()
    assert len(dataset.split("train")) == len(dataset.split("validation")) == 3
    assert version.card == dataset.card.to_dict()
    assert dataset.card.counts["binary"] == 1
    assert store.provenance(version.artifact.digest)["job"] == done.name
    assert (done.progress.done, done.progress.total, done.progress.unit) == (4, 4, "files")


def test_the_same_files_give_the_same_artifact(
    start: Start, work: Work, jobs: MemoryJobs, settings: IngestSettings
) -> None:
    one, two = (work(submit(start(name), jobs, settings.roots)) for name in ("one", "two"))
    assert one.name != two.name
    assert one.outputs == two.outputs
    assert two.result["dataset_version"] == "datasets/texts/versions/2"


def test_the_service_answers_with_the_job_and_with_clear_errors(
    start: Start, jobs: MemoryJobs, settings: IngestSettings
) -> None:
    with running(lambda: build(settings, jobs=jobs)) as server, connect(server.address) as channel:
        stub = IngestServiceStub(channel)
        first = stub.StartIngest(start(), timeout=60).job
        again = stub.StartIngest(start(), timeout=60).job
        assert first.name == again.name
        assert first.kind == "vermeil.ingest.v1.ingest"
        assert first.queue == "ingest"
        assert first.state == job_pb2.JOB_STATE_PENDING
        gone = ingest_pb2.Source(uri=str(settings.roots[0] / "gone"))
        with pytest.raises(NotFound, match="gone': does not exist"):
            stub.StartIngest(start("two", sources=[gone]), timeout=60)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": "Texts"}, InvalidInput, "spec.dataset = 'Texts': is not the name of a dataset"),
        ({"sources": []}, InvalidInput, "spec.sources: at least one source is needed"),
        ({"validation_fraction": 0.7}, InvalidInput, "spec.validation_fraction = 0.7"),
        ({"split_by": 9}, InvalidInput, "spec.split_by = 9: is unknown"),
        ({"uri": "shelf"}, InvalidInput, r"spec.sources\[0\].uri = 'shelf': is not an absolute path"),
        ({"uri": "https://example.org/a"}, InvalidInput, "is not a local file"),
        ({"uri": "/etc"}, PermissionDenied, "lies outside the folders this service may read"),
        ({"request_id": ""}, InvalidInput, "request_id = '': is required"),
    ],
)
def test_a_wrong_request_is_refused_before_there_is_a_job(
    start: Start,
    jobs: MemoryJobs,
    settings: IngestSettings,
    changes: dict[str, Any],
    error: type[VermeilError],
    message: str,
) -> None:
    if "uri" in changes:
        changes = {"sources": [ingest_pb2.Source(uri=changes["uri"])]}
    with pytest.raises(error, match=message):
        submit(start(**changes), jobs, settings.roots)
    assert not jobs.rows.jobs


def test_a_file_uri_is_a_path(start: Start, work: Work, jobs: MemoryJobs, settings: IngestSettings) -> None:
    spaced = settings.roots[0] / "with space"
    spaced.mkdir()
    (spaced / "a.txt").write_text("a text that has a home with a space\n")
    source = ingest_pb2.Source(uri=spaced.as_uri())
    done = work(submit(start(sources=[source]), jobs, settings.roots))
    assert done.state is JobState.SUCCEEDED


def test_a_job_that_finds_no_text_fails_with_the_reason(
    start: Start, work: Work, jobs: MemoryJobs, shelf: Path, settings: IngestSettings
) -> None:
    source = ingest_pb2.Source(uri=str(shelf), include=["*.png"])
    media = ingest_pb2.MEDIA_TEXT
    done = work(submit(start(sources=[source], media=media), jobs, settings.roots))
    assert done.state is JobState.FAILED
    assert done.error
    assert done.error.reason == "INVALID_INPUT"
    assert "1 binary; for example picture.png: is not text: it is a PNG picture" in done.error.message
    assert not jobs.rows.versions


def test_an_interrupted_job_starts_again_cleanly(
    start: Start, work: Work, jobs: MemoryJobs, settings: IngestSettings
) -> None:
    job = submit(start(), jobs, settings.roots)
    remains = settings.home / "jobs" / job.name.removeprefix("jobs/") / "dataset"
    remains.mkdir(parents=True)
    (remains / "train-00007.arrow").write_bytes(b"half a shard of an earlier attempt")
    other = work(submit(start("two"), jobs, settings.roots))
    assert work(job).outputs == other.outputs


def test_a_cancelled_job_stops_between_files(
    start: Start, jobs: MemoryJobs, store: LocalStore, settings: IngestSettings, tmp_path: Path
) -> None:
    job = submit(start(), jobs, settings.roots)
    context = JobContext(job, tmp_path / "work")
    context.request_cancel()
    kind = job_kind(jobs, store, settings)
    with pytest.raises(VermeilError, match="was cancelled"):
        kind.work(context, kind.unpack_spec(context))
    assert not list(store.list())
