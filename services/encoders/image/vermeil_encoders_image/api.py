"""EncoderService for pictures: message in, domain call, message out."""

# ruff: noqa: N802, ARG002

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from vermeil.encoder.v1 import encoder_pb2
from vermeil.encoder.v1 import encoder_service_pb2 as wire
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceServicer
from vermeil_artifacts import ArtifactStore, used_within
from vermeil_errors import Conflict, InvalidInput
from vermeil_jobs import Job, JobState, Names
from vermeil_jobs.messages import job_to_message
from vermeil_rpc.media import media_bytes

from vermeil_encoders_image.media_in import check_num_items
from vermeil_encoders_image.models import DualModels, Vector
from vermeil_encoders_image.search import Found, check_hits, search
from vermeil_encoders_image.submit import EMBEDDINGS

Context = grpc.aio.ServicerContext[Any, Any]


class EncoderServicer(EncoderServiceServicer):
    """Answers for EncoderService."""

    def __init__(
        self,
        submit: Callable[[wire.StartEncodingRequest], Job],
        names: Names,
        store: ArtifactStore,
        models: DualModels,
    ) -> None:
        self._submit, self._names, self._store, self._models = submit, names, store, models

    async def StartEncoding(
        self, request: wire.StartEncodingRequest, context: Context
    ) -> wire.StartEncodingResponse:
        """Submit the job."""
        job = await asyncio.to_thread(self._submit, request)
        return wire.StartEncodingResponse(job=job_to_message(job))

    async def Encode(self, request: wire.EncodeRequest, context: Context) -> wire.EncodeResponse:
        """Embeddings of a few texts and pictures."""
        if request.output == encoder_pb2.ENCODING_OUTPUT_TOKENS:
            raise InvalidInput("pictures have no token ids", field="output", fix="ask the text encoder")
        check_num_items(len(request.texts), len(request.images))
        model = await asyncio.to_thread(self._names.model_version, request.model)
        files = [
            await asyncio.to_thread(media_bytes, media, self._store, f"images[{index}]")
            for index, media in enumerate(request.images)
        ]
        vectors = await self._models.embed(model.artifact.digest, request.texts, files)
        return wire.EncodeResponse(embeddings=[_embedding(vector) for vector in vectors])

    async def Search(self, request: wire.SearchRequest, context: Context) -> wire.SearchResponse:
        """The samples nearest to a text or a picture."""
        num_hits = check_hits(request.num_hits)
        kind = request.WhichOneof("query")
        if kind is None:
            raise InvalidInput("is required", field="query", fix="send a text or an image")
        spec = encoder_pb2.EncodingSpec(dataset=request.dataset, embedding_model=request.model)
        job = await asyncio.to_thread(self._submit, wire.StartEncodingRequest(spec=spec))
        if job.state is not JobState.SUCCEEDED:
            raise Conflict(
                f"the embeddings are still being made by {job.name} ({job.state.name.lower()})",
                field="dataset",
                value=request.dataset,
                fix="wait for that job, then search again",
            )
        texts = [request.text] if kind == "text" else []
        files = []
        if kind == "image":
            files = [await asyncio.to_thread(media_bytes, request.image, self._store, "image")]
        (query,) = await self._models.embed(job.inputs["model"].digest, texts, files)
        found = await asyncio.to_thread(self._find, job, query, num_hits, request.previews)
        settled = encoder_pb2.EncodingSpec.FromString(job.spec.value)
        return wire.SearchResponse(
            hits=map(_hit, found), dataset=settled.dataset, model=settled.embedding_model
        )

    def _find(self, job: Job, query: Vector, num_hits: int, previews: bool) -> list[Found]:
        with used_within():
            embeddings = self._store.fetch(job.outputs[EMBEDDINGS])
            raw = self._store.fetch(job.inputs["dataset"])
            return search(embeddings, raw, query, num_hits, previews=previews)


def _embedding(vector: Vector) -> encoder_pb2.Embedding:
    return encoder_pb2.Embedding(values=vector.astype(np.dtype("<f4")).tobytes())


def _hit(found: Found) -> encoder_pb2.SearchHit:
    near = found.neighbour
    return encoder_pb2.SearchHit(
        sample=near.id,
        split=near.split,
        index=near.place,
        score=near.score,
        class_name=found.class_name,
        captions=found.captions,
        preview=found.preview,
    )
