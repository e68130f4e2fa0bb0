"""Ingest, encoder, trainer and evaluator, as far as starting a job goes."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

import struct
from typing import Any

from vermeil.encoder.v1 import encoder_service_pb2 as encoder
from vermeil.encoder.v1.encoder_pb2 import Embedding, SearchHit
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceServicer
from vermeil.evaluation.v1 import evaluation_service_pb2 as evaluation
from vermeil.evaluation.v1.evaluation_pb2 import Comparison, Difference, Report, Task
from vermeil.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceServicer
from vermeil.ingest.v1 import ingest_service_pb2 as ingest
from vermeil.ingest.v1.ingest_service_pb2_grpc import IngestServiceServicer
from vermeil.job.v1.job_service_pb2 import GetJobRequest
from vermeil.training.v1 import training_service_pb2 as training
from vermeil.training.v1.recipe_pb2 import Recipe
from vermeil.training.v1.training_service_pb2_grpc import TrainingServiceServicer
from vermeil_errors import InvalidInput

from vermeil_gateway.fakes.jobs import FakeJobs


class FakeWork(
    IngestServiceServicer, EncoderServiceServicer, TrainingServiceServicer, EvaluationServiceServicer
):
    """Starts jobs that nobody works on."""

    def __init__(self, jobs: FakeJobs) -> None:
        self._jobs = jobs

    async def StartIngest(self, request: ingest.StartIngestRequest, context: Any) -> Any:
        """A pending job."""
        job = self._jobs.start("vermeil.ingest.v1.ingest", request.spec, request.request_id, request.priority)
        return ingest.StartIngestResponse(job=job)

    async def StartEncoding(self, request: encoder.StartEncodingRequest, context: Any) -> Any:
        """A pending job."""
        job = self._jobs.start(
            "vermeil.encoder.v1.encode", request.spec, request.request_id or "encode", request.priority
        )
        return encoder.StartEncodingResponse(job=job)

    async def Encode(self, request: encoder.EncodeRequest, context: Any) -> Any:
        """For each text a vector that says how long it is; a token a character."""
        if "too long" in request.texts:
            place = list(request.texts).index("too long")
            raise InvalidInput("is too long", field=f"texts[{place}]")
        lengths = [len(text) for text in request.texts]
        vectors = [Embedding(values=struct.pack("<3f", length, 0.5, 0)) for length in lengths]
        return encoder.EncodeResponse(embeddings=vectors, num_tokens=lengths)

    async def Search(self, request: encoder.SearchRequest, context: Any) -> Any:
        """As many samples as are asked for, each named by what was looked for."""
        looked_for = request.text or f"{len(request.image.inline)} bytes"
        hits = [
            SearchHit(sample=f"{looked_for} {place}", split="train", index=place, score=1 - place / 100)
            for place in range(request.num_hits or 10)
        ]
        return encoder.SearchResponse(hits=hits, dataset=request.dataset, model=request.model)

    async def StartTraining(self, request: training.StartTrainingRequest, context: Any) -> Any:
        """A pending job."""
        job = self._jobs.start(
            "vermeil.trainer.v1.train", request.recipe, request.request_id, request.priority
        )
        return training.StartTrainingResponse(job=job)

    async def ListRecipes(self, request: training.ListRecipesRequest, context: Any) -> Any:
        """One recipe."""
        return training.ListRecipesResponse(recipes=[Recipe(name="nano")])

    async def StartEvaluation(self, request: evaluation.StartEvaluationRequest, context: Any) -> Any:
        """A pending job."""
        job = self._jobs.start(
            "vermeil.evaluator.v1.evaluate", request.spec, request.request_id, request.priority
        )
        return evaluation.StartEvaluationResponse(job=job)

    async def ListTasks(self, request: evaluation.ListTasksRequest, context: Any) -> Any:
        """One task."""
        return evaluation.ListTasksResponse(tasks=[Task(name="perplexity", version=1)])

    async def GetReport(self, request: evaluation.GetReportRequest, context: Any) -> Any:
        """A report of the job that was named, whatever it is."""
        await self._jobs.GetJob(GetJobRequest(name=request.name), context)
        report = Report(model=request.name, task="perplexity@1", num_items=3)
        return evaluation.GetReportResponse(report=report, page=f"<!doctype html><p>{request.name}")

    async def CompareReports(self, request: evaluation.CompareReportsRequest, context: Any) -> Any:
        """A job is better than itself by nothing, and than another by one."""
        gap = float(request.first != request.second)
        difference = Difference(name="bits_per_byte", difference=gap, p_value=1 - gap)
        comparison = Comparison(
            task="perplexity@1",
            first_model=request.first,
            second_model=request.second,
            num_items=3,
            differences=[difference],
        )
        return evaluation.CompareReportsResponse(comparison=comparison)
