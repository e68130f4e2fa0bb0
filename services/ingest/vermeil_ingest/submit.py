"""From a request to a job: the one way in, whether by RPC or straight through the queue."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vermeil.ingest.v1.ingest_pb2 import LookSpec
from vermeil.ingest.v1.ingest_service_pb2 import StartIngestRequest
from vermeil_jobs import Job, JobClient, NewJob, Spec
from vermeil_jobs.messages import priority_from_message
from vermeil_jobs.names import check_request_id
from vermeil_telemetry import current_traceparent

from vermeil_ingest.ingest import check_sources, wants_pictures
from vermeil_ingest.ingestion import Ingestion
from vermeil_ingest.messages import ingestion_from_message
from vermeil_ingest.shelf import local_entries

KIND = "vermeil.ingest.v1.ingest"
LOOK = "vermeil.ingest.v1.look"
QUEUE = "ingest"
MAX_SHARDS = 32
"""Of those that are chosen by the number of files."""
_A_SHARD = 50_000
_A_PICTURE, _IN_AN_ARCHIVE = 1, 10_000
"""Pictures that a file is taken to hold."""


def submit(request: StartIngestRequest, jobs: JobClient, roots: Sequence[Path]) -> Job:
    """Check what can be checked at once, then create the job, and before it one for each shard."""
    ingestion = ingestion_from_message(request.spec)
    check_sources(ingestion, roots)
    num_shards = shards_for(ingestion, roots)
    divided = StartIngestRequest(spec=request.spec, request_id=request.request_id, priority=request.priority)
    divided.spec.images.num_shards = num_shards
    shards = [_look(divided, shard, jobs) for shard in range(num_shards)] if num_shards > 1 else []
    return jobs.create(
        NewJob(
            kind=KIND,
            queue=QUEUE,
            spec=Spec.pack(request.spec),
            request_id=request.request_id,
            after=tuple(shards),
            priority=priority_from_message(request.priority),
            traceparent=current_traceparent(),
        )
    )


def shards_for(ingestion: Ingestion, roots: Sequence[Path]) -> int:
    """How many jobs look at the pictures: as many as asked for, else one for every 50,000 files or so.

    What is not on this machine is not counted, so it is divided only if that is asked for.
    """
    asked = ingestion.images.num_shards
    is_here = all(not source.scheme for source in ingestion.sources)
    if asked == 1 or (not asked and not is_here):
        return 1
    if is_here and not wants_pictures(ingestion, roots):
        return 1
    if asked:
        return asked
    entries = [entry for source in ingestion.sources for entry in local_entries(source, roots, Counter())]
    num_pictures = sum(_A_PICTURE if entry.is_picture else _IN_AN_ARCHIVE for entry in entries)
    return max(1, min(MAX_SHARDS, num_pictures // _A_SHARD))


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
            priority=priority_from_message(request.priority),
            traceparent=current_traceparent(),
        )
    )
    return job.name
