"""From a request to a job: the one way in, whether by RPC or straight through the queue."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from vermeil.ingest.v1.ingest_pb2 import LookSpec
from vermeil.ingest.v1.ingest_service_pb2 import StartIngestRequest
from vermeil_jobs import Job, JobClient, NewJob, Spec
from vermeil_jobs.names import check_request_id
from vermeil_telemetry import current_traceparent

from vermeil_ingest.ingest import check_sources, wants_pictures
from vermeil_ingest.messages import ingestion_from_message

KIND = "vermeil.ingest.v1.ingest"
LOOK = "vermeil.ingest.v1.look"
QUEUE = "ingest"


def submit(request: StartIngestRequest, jobs: JobClient, roots: Sequence[Path]) -> Job:
    """Check what can be checked at once, then create the job, and before it one for each shard."""
    ingestion = ingestion_from_message(request.spec)
    check_sources(ingestion, roots)
    num_shards = ingestion.images.num_shards
    divided = num_shards > 1 and wants_pictures(ingestion, roots)
    shards = [_look(request, shard, jobs) for shard in range(num_shards)] if divided else []
    return jobs.create(
        NewJob(
            kind=KIND,
            queue=QUEUE,
            spec=Spec.pack(request.spec),
            request_id=request.request_id,
            after=tuple(shards),
            traceparent=current_traceparent(),
        )
    )


def _look(request: StartIngestRequest, shard: int, jobs: JobClient) -> str:
    """The name of the job that looks at one shard."""
    check_request_id(request.request_id)
    digest = hashlib.sha256(request.request_id.encode()).hexdigest()
    job = jobs.create(
        NewJob(
            kind=LOOK,
            queue=QUEUE,
            spec=Spec.pack(LookSpec(spec=request.spec, shard=shard)),
            request_id=f"look-{digest}-{shard}",
            traceparent=current_traceparent(),
        )
    )
    return job.name
