"""From a request to a job: the one way in, whether by RPC or straight through the queue."""

from collections.abc import Sequence
from pathlib import Path

from vermeil.ingest.v1.ingest_service_pb2 import StartIngestRequest
from vermeil_jobs import Job, JobClient, NewJob, Spec
from vermeil_telemetry import current_traceparent

from vermeil_ingest.ingest import check_sources
from vermeil_ingest.messages import ingestion_from_message

KIND = "vermeil.ingest.v1.ingest"
QUEUE = "ingest"


def submit(request: StartIngestRequest, jobs: JobClient, roots: Sequence[Path]) -> Job:
    """Check what can be checked at once, then create the job."""
    check_sources(ingestion_from_message(request.spec), roots)
    return jobs.create(
        NewJob(
            kind=KIND,
            queue=QUEUE,
            spec=Spec.pack(request.spec),
            request_id=request.request_id,
            traceparent=current_traceparent(),
        )
    )
