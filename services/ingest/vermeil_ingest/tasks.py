"""The Celery tasks "vermeil.ingest.v1.ingest" and "…look": do the job, publish what came out.

An ingestion of several shards is one job that takes in what its predecessors, one a shard, have seen.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from vermeil.ingest.v1.ingest_pb2 import IngestSpec, LookSpec
from vermeil.ingest.v1.ingest_service_pb2 import StartIngestRequest
from vermeil_artifacts import ArtifactStore, await_store
from vermeil_errors import InvalidInput
from vermeil_jobs import (
    JobClient,
    JobContext,
    JobKind,
    JobOutcome,
    JobsApp,
    NewDatasetVersion,
)
from vermeil_jobs import register as register_kind

from vermeil_ingest.bucket import bucket_shelf
from vermeil_ingest.clients import registry_jobs
from vermeil_ingest.images.ingest_images import look_at_shard, merge_shards
from vermeil_ingest.ingest import ingest
from vermeil_ingest.ingestion import Report
from vermeil_ingest.messages import ingestion_from_message
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.shelf import OpenBucket
from vermeil_ingest.submit import KIND, LOOK, QUEUE, submit
from vermeil_ingest.wanted import Wanted


def register(app: JobsApp, settings: IngestSettings | None = None) -> list[str]:
    """Let the workers of `app` ingest; the queues they must listen on."""
    settings = settings or IngestSettings.load()
    jobs, store = registry_jobs(settings), await_store(settings)
    register_kind(app, job_kind(jobs, store, settings), jobs)
    register_kind(app, look_kind(jobs, store, settings), jobs)
    return [QUEUE]


def job_kind(
    jobs: JobClient, store: ArtifactStore, settings: IngestSettings
) -> JobKind[StartIngestRequest, IngestSpec]:
    """The sort of work, with everything it needs."""
    return JobKind(
        name=KIND,
        queue=QUEUE,
        request_type=StartIngestRequest,
        spec_type=IngestSpec,
        submit=partial(submit, jobs=jobs, roots=settings.roots),
        work=partial(_work, jobs=jobs, store=store, settings=settings),
    )


def look_kind(
    jobs: JobClient, store: ArtifactStore, settings: IngestSettings
) -> JobKind[StartIngestRequest, LookSpec]:
    """The sort of work that looks at one shard of an ingestion."""
    return JobKind(
        name=LOOK,
        queue=QUEUE,
        request_type=StartIngestRequest,
        spec_type=LookSpec,
        submit=_refuse,
        work=partial(_look, jobs=jobs, store=store, settings=settings),
    )


def _work(
    context: JobContext, spec: IngestSpec, jobs: JobClient, store: ArtifactStore, settings: IngestSettings
) -> JobOutcome:
    ingestion = ingestion_from_message(spec)
    folder = _empty(context, "dataset")
    with_source = {"roots": settings.roots, "open_bucket": _bucket(context, settings)}
    if context.job.after:
        shards = _shards(context, jobs, store)
        report = _reporter(context, "shards")
        card = merge_shards(ingestion, shards, folder, report=report, **with_source)  # type: ignore[arg-type]
    else:
        report = _reporter(context, "files")
        card = ingest(ingestion, folder, report=report, **with_source)  # type: ignore[arg-type]
    ref = store.publish(folder, kind="dataset", provenance={"job": context.job.name})
    return JobOutcome(
        outputs={"dataset": ref},
        result={"counts": card.counts},
        dataset_versions=(NewDatasetVersion(spec.dataset, ref, card.to_dict()),),
    )


def _look(
    context: JobContext, spec: LookSpec, jobs: JobClient, store: ArtifactStore, settings: IngestSettings
) -> JobOutcome:
    wanted = Wanted(context, jobs, KIND)
    wanted.check()
    folder = _empty(context, "shard")
    count = look_at_shard(
        ingestion_from_message(spec.spec),
        spec.shard,
        folder,
        roots=settings.roots,
        report=_reporter(context, "files", wanted.check),
        open_bucket=_bucket(context, settings),
    )
    ref = store.publish(folder, kind="ingest-shard", provenance={"job": context.job.name})
    return JobOutcome(outputs={"shard": ref}, result={"seen": count})


def _shards(context: JobContext, jobs: JobClient, store: ArtifactStore) -> list[Path]:
    """What the predecessors have seen, in the order of the shards."""
    done = [jobs.get(name) for name in context.job.after]
    done.sort(key=lambda job: LookSpec.FromString(job.spec.value).shard)
    return [store.fetch(job.outputs["shard"]) for job in done]


def _bucket(context: JobContext, settings: IngestSettings) -> OpenBucket:
    return partial(bucket_shelf, settings=settings, folder=context.workdir / "objects")


def _reporter(context: JobContext, unit: str, check: Callable[[], None] | None = None) -> Report:
    def report(done: int, total: int, message: str) -> None:
        (check or context.check)()
        context.progress(done, total, message, unit=unit)

    return report


def _empty(context: JobContext, name: str) -> Path:
    folder = context.workdir / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _refuse(_: StartIngestRequest) -> NoReturn:
    raise InvalidInput("shards are looked at for an ingestion", fix=f"ask for {KIND} with images.num_shards")
