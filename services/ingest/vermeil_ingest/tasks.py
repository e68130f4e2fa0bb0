"""The Celery task "vermeil.ingest.v1.ingest": do the job, publish what came out."""

import shutil
from functools import partial

from vermeil.ingest.v1.ingest_pb2 import IngestSpec
from vermeil.ingest.v1.ingest_service_pb2 import StartIngestRequest
from vermeil_artifacts import ArtifactStore, store_from_settings
from vermeil_jobs import (
    JobClient,
    JobContext,
    JobKind,
    JobOutcome,
    JobsApp,
    NewDatasetVersion,
)
from vermeil_jobs import register as register_kind

from vermeil_ingest.clients import registry_jobs
from vermeil_ingest.images.bucket import bucket_shelf
from vermeil_ingest.ingest import ingest
from vermeil_ingest.messages import ingestion_from_message
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.submit import KIND, QUEUE, submit


def register(app: JobsApp, settings: IngestSettings | None = None) -> list[str]:
    """Let the workers of `app` ingest; the queues they must listen on."""
    settings = settings or IngestSettings.load()
    jobs = registry_jobs(settings)
    register_kind(app, job_kind(jobs, store_from_settings(settings), settings), jobs)
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
        work=partial(_work, store=store, settings=settings),
    )


def _work(
    context: JobContext, spec: IngestSpec, store: ArtifactStore, settings: IngestSettings
) -> JobOutcome:
    def report(done: int, total: int, message: str) -> None:
        context.check()
        context.progress(done, total, message, unit="files")

    folder = context.workdir / "dataset"
    shutil.rmtree(folder, ignore_errors=True)
    card = ingest(
        ingestion_from_message(spec),
        folder,
        roots=settings.roots,
        report=report,
        open_bucket=partial(bucket_shelf, settings=settings, folder=context.workdir / "objects"),
    )
    ref = store.publish(folder, kind="dataset", provenance={"job": context.job.name})
    return JobOutcome(
        outputs={"dataset": ref},
        result={"counts": card.counts},
        dataset_versions=(NewDatasetVersion(spec.dataset, ref, card.to_dict()),),
    )
