"""An ingestion divided among jobs gives the very same dataset, and says where it stands."""

from collections.abc import Callable
from pathlib import Path

import pytest
from vermeil.ingest.v1 import ingest_pb2
from vermeil.ingest.v1.ingest_pb2 import LookSpec
from vermeil_artifacts import LocalStore
from vermeil_data import open_dataset
from vermeil_errors import Cancelled, InvalidInput, Unavailable
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.submit import KIND, submit
from vermeil_ingest.tasks import job_kind, look_kind
from vermeil_ingest.wanted import Wanted
from vermeil_jobs import Job, JobContext, JobState, MemoryJobs, Runner

from .conftest import Start  # pants: no-infer-dep
from .pictures import fill, png

Work = Callable[[Job], Job]


@pytest.fixture
def zoo(shelf: Path) -> Path:
    """More pictures than one unit holds, with doubles far apart, a bad one, and a link out."""
    folder = fill(shelf / "zoo", *(f"{'ab'[number % 2]}/{number}.png" for number in range(600)))
    (folder / "a/again.png").write_bytes(png(599))
    (folder / "b/page.png").write_text("<html>")
    (folder / "b/out.png").symlink_to(shelf / "picture.png")
    return folder


@pytest.mark.parametrize("num_shards", [2, 5])
def test_a_divided_ingestion_gives_the_same_artifact(
    start: Start,
    work: Work,
    jobs: MemoryJobs,
    store: LocalStore,
    settings: IngestSettings,
    zoo: Path,
    num_shards: int,
) -> None:
    source = ingest_pb2.Source(uri=str(zoo))

    def asked(shards: int) -> Job:
        images = ingest_pb2.ImageRules(near_duplicates=0, num_workers=1, num_shards=shards)
        return submit(start(f"of-{shards}", sources=[source], images=images), jobs, settings.roots)

    alone = work(asked(1))
    divided = asked(num_shards)
    assert len(divided.after) == num_shards
    assert asked(num_shards).name == divided.name
    assert len(jobs.rows.jobs) == 2 + num_shards
    for name in reversed(divided.after):
        done = Runner(jobs, look_kind(jobs, store, settings), settings.home).run(name)
        assert done
        assert done.state is JobState.SUCCEEDED, done.error
        assert done.progress.unit == "files"
    merged = work(divided)
    assert merged.state is JobState.SUCCEEDED, merged.error
    assert (merged.progress.done, merged.progress.unit) == (num_shards, "shards")
    assert merged.outputs == alone.outputs
    counts = open_dataset(store.fetch(merged.outputs["dataset"])).card.counts
    assert (counts["duplicate"], counts["mislabelled"], counts["escaping"]) == (1, 1, 1)


def test_a_bad_file_of_any_shard_is_refused_by_name(
    start: Start, work: Work, jobs: MemoryJobs, store: LocalStore, settings: IngestSettings, zoo: Path
) -> None:
    request = start(
        sources=[ingest_pb2.Source(uri=str(zoo), exclude=["out.png"])],
        images=ingest_pb2.ImageRules(num_workers=1, num_shards=3),
        bad_files=ingest_pb2.BAD_FILE_POLICY_REFUSE,
    )
    job = submit(request, jobs, settings.roots)
    for name in job.after:
        Runner(jobs, look_kind(jobs, store, settings), settings.home).run(name)
    done = work(job)
    assert done.state is JobState.FAILED
    assert done.error
    assert "page.png: is not a picture" in done.error.message


def test_shards_of_a_cancelled_ingestion_are_not_looked_at(
    start: Start, jobs: MemoryJobs, store: LocalStore, settings: IngestSettings, zoo: Path
) -> None:
    images = ingest_pb2.ImageRules(num_workers=1, num_shards=2)
    job = submit(start(sources=[ingest_pb2.Source(uri=str(zoo))], images=images), jobs, settings.roots)
    first, second = job.after
    kind = look_kind(jobs, store, settings)
    done = Runner(jobs, kind, settings.home).run(first)
    assert done
    assert done.state is JobState.SUCCEEDED
    assert jobs.cancel(job.name).state is JobState.CANCELLED
    done = Runner(jobs, kind, settings.home).run(second)
    assert done
    assert done.state is JobState.CANCELLED
    assert any("which it is part of" in line.text for line in jobs.list_logs(second).lines)


def test_looking_stops_soon_after_its_ingestion_is_cancelled(
    start: Start, jobs: MemoryJobs, settings: IngestSettings, zoo: Path, tmp_path: Path
) -> None:
    images = ingest_pb2.ImageRules(num_shards=2)
    job = submit(start(sources=[ingest_pb2.Source(uri=str(zoo))], images=images), jobs, settings.roots)
    context = JobContext(jobs.get(job.after[0]), tmp_path / "work")
    wanted = Wanted(context, jobs, KIND, seconds=0)
    wanted.check()
    jobs.cancel(job.name)
    with pytest.raises(Cancelled):
        wanted.check()


def test_looking_goes_on_while_the_registry_is_away(
    start: Start, jobs: MemoryJobs, settings: IngestSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("the registry is away")

    monkeypatch.setattr(jobs, "list_jobs", away)
    Wanted(JobContext(submit(start(), jobs, settings.roots), tmp_path), jobs, KIND).check()


def test_the_number_of_files_decides_how_an_ingestion_is_divided(
    start: Start, jobs: MemoryJobs, settings: IngestSettings, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [ingest_pb2.Source(uri=str(zoo))]
    assert submit(start(sources=sources), jobs, settings.roots).after == ()
    monkeypatch.setattr("vermeil_ingest.submit._A_SHARD", 200)
    job = submit(start("two", sources=sources), jobs, settings.roots)
    assert len(job.after) == 3
    specs = [LookSpec.FromString(jobs.get(name).spec.value) for name in job.after]
    assert [(spec.shard, spec.spec.images.num_shards) for spec in specs] == [(0, 3), (1, 3), (2, 3)]
    one = ingest_pb2.ImageRules(num_shards=1)
    assert submit(start("three", sources=sources, images=one), jobs, settings.roots).after == ()
    digits = [ingest_pb2.Source(uri="digits:")]
    assert submit(start("four", sources=digits), jobs, settings.roots).after == ()


def test_text_is_never_divided(start: Start, jobs: MemoryJobs, settings: IngestSettings) -> None:
    job = submit(start(images=ingest_pb2.ImageRules(num_shards=4)), jobs, settings.roots)
    assert job.after == ()


def test_a_shard_is_not_asked_for_by_itself(
    start: Start, jobs: MemoryJobs, store: LocalStore, settings: IngestSettings
) -> None:
    with pytest.raises(InvalidInput, match=r"ask for vermeil\.ingest\.v1\.ingest"):
        look_kind(jobs, store, settings).submit(start())
    assert job_kind(jobs, store, settings).name == "vermeil.ingest.v1.ingest"
