"""Pictures and texts below an S3 prefix, read through the same client as artifacts; on moto's server."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio
from moto.server import ThreadedMotoServer
from vermeil.ingest.v1 import ingest_pb2
from vermeil_artifacts import LocalStore
from vermeil_data import open_dataset
from vermeil_errors import InvalidInput, NotFound
from vermeil_ingest.bucket import bucket_shelf
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.sources import Source
from vermeil_ingest.submit import submit
from vermeil_ingest.tasks import job_kind
from vermeil_jobs import JobState, MemoryJobs, Runner

from .conftest import Start  # pants: no-infer-dep
from .pictures import png, tar_of


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[IngestSettings]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    client = Minio(f"{host}:{port}", "tests", "tests-secret", secure=False)
    client.make_bucket("zoo")
    archive = tar_of(tmp_path / "a.tar", {"c.png": png(3), "c.txt": b"words of c"}).read_bytes()
    objects = {
        "animals/bee/2.png": png(1),
        "animals/ant/1.png": png(0),
        "animals/.hidden.png": png(4),
        "archives/a.tar": archive,
        "other/x.png": png(2),
        "texts/b/poem.txt": b"two roads diverged\n",
        "texts/a.jsonl.gz": gzip.compress(b'{"text": "one"}\n{"text": "three"}\n{"no": 1}\n'),
        "texts/.hidden.txt": b"never read",
        "texts/noise.txt": bytes(range(256)),
    }
    for key, data in objects.items():
        client.put_object("zoo", key, io.BytesIO(data), len(data))
    yield IngestSettings.load(
        home=tmp_path / "home",
        s3_endpoint=f"{host}:{port}",
        s3_access_key="tests",
        s3_secret_key="tests-secret",
        s3_secure=False,
    )
    moto.stop()


def test_a_prefix_is_read_like_a_folder(
    settings: IngestSettings, start: Start, jobs: MemoryJobs, store: LocalStore
) -> None:
    for request, uri, expected in (
        ("one", "s3://zoo/animals", {"ant/1.png": "ant", "bee/2.png": "bee"}),
        ("two", "s3://zoo/archives/", {"a.tar/c.png": None}),
    ):
        sources = [ingest_pb2.Source(uri=uri)]
        job = submit(start(request, sources=sources, validation_fraction=0), jobs, settings.roots)
        done = Runner(jobs, job_kind(jobs, store, settings), settings.home).run(job.name)
        assert done
        assert done.state is JobState.SUCCEEDED, done.error
        dataset = open_dataset(store.fetch(done.outputs["dataset"]))
        found = {sample.id: sample.metadata.get("class") for sample in dataset.split("train")}
        assert found == expected


def test_texts_below_a_prefix_are_read_like_a_folder(
    settings: IngestSettings, start: Start, jobs: MemoryJobs, store: LocalStore
) -> None:
    sources = [ingest_pb2.Source(uri="s3://zoo/texts", exclude=["other*"])]
    job = submit(start(sources=sources, validation_fraction=0), jobs, settings.roots)
    done = Runner(jobs, job_kind(jobs, store, settings), settings.home).run(job.name)
    assert done
    assert done.state is JobState.SUCCEEDED, done.error
    dataset = open_dataset(store.fetch(done.outputs["dataset"]))
    found = {sample.id: sample.text for sample in dataset.split("train")}
    assert found == {"a.jsonl.gz#1": "one", "a.jsonl.gz#2": "three", "b/poem.txt": "two roads diverged\n"}
    counts = dataset.card.counts
    assert (counts["files_found"], counts["binary"], counts["malformed"]) == (3, 1, 1)
    assert {skipped.id for skipped in dataset.card.skipped} == {"a.jsonl.gz#3", "noise.txt"}
    refused = start("two", sources=sources, bad_files=ingest_pb2.BAD_FILE_POLICY_REFUSE)
    job = submit(refused, jobs, settings.roots)
    done = Runner(jobs, job_kind(jobs, store, settings), settings.home).run(job.name)
    assert done
    assert done.error
    assert "zoo/texts/a.jsonl.gz, record 3: has no text in field 'text'" in done.error.message


def test_what_is_not_there_or_not_set_up_is_named(settings: IngestSettings, tmp_path: Path) -> None:
    def list_of(uri: str, with_settings: IngestSettings) -> object:
        return bucket_shelf(Source(Path(uri), uri=uri), with_settings, tmp_path)

    with pytest.raises(NotFound, match="has no objects"):
        list_of("s3://zoo/nothing", settings)
    with pytest.raises(NotFound, match="NoSuchBucket"):
        list_of("s3://museum/a", settings)
    with pytest.raises(InvalidInput, match="VERMEIL_S3_ENDPOINT"):
        list_of("s3://zoo", IngestSettings.load(home=tmp_path))
