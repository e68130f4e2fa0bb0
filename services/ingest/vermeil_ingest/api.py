"""IngestService: message in, domain call, message out."""

import asyncio
from collections.abc import Callable

import grpc
from vermeil.ingest.v1 import ingest_service_pb2 as wire
from vermeil.ingest.v1.ingest_service_pb2_grpc import IngestServiceServicer
from vermeil_jobs import Job
from vermeil_jobs.messages import job_to_message


class IngestServicer(IngestServiceServicer):
    """Answers for IngestService."""

    def __init__(self, submit: Callable[[wire.StartIngestRequest], Job]) -> None:
        self._submit = submit

    async def StartIngest(  # noqa: N802
        self,
        request: wire.StartIngestRequest,
        context: grpc.aio.ServicerContext[wire.StartIngestRequest, wire.StartIngestResponse],  # noqa: ARG002
    ) -> wire.StartIngestResponse:
        """Submit the job."""
        job = await asyncio.to_thread(self._submit, request)
        return wire.StartIngestResponse(job=job_to_message(job))
