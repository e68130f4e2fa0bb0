"""EncoderService for text: message in, domain call, message out."""

# ruff: noqa: N802, ARG002

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from vermeil.encoder.v1 import encoder_pb2
from vermeil.encoder.v1 import encoder_service_pb2 as wire
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceServicer
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_jobs import Job
from vermeil_jobs.messages import job_to_message

from vermeil_encoders_text.embed import TextEmbedder
from vermeil_encoders_text.encode import check_texts, encode_texts

Context = grpc.aio.ServicerContext[Any, Any]


class EncoderServicer(EncoderServiceServicer):
    """Answers for EncoderService."""

    def __init__(
        self,
        submit: Callable[[wire.StartEncodingRequest], Job],
        tokenizer_of: Callable[[str], TextTokenizer],
        digest_of: Callable[[str], str],
        embedder: TextEmbedder,
    ) -> None:
        self._submit = submit
        self._tokenizer_of = tokenizer_of
        self._digest_of = digest_of
        self._embedder = embedder

    async def StartEncoding(
        self, request: wire.StartEncodingRequest, context: Context
    ) -> wire.StartEncodingResponse:
        """Submit the job."""
        job = await asyncio.to_thread(self._submit, request)
        return wire.StartEncodingResponse(job=job_to_message(job))

    async def Encode(self, request: wire.EncodeRequest, context: Context) -> wire.EncodeResponse:
        """Token ids or embeddings of a few texts."""
        if request.images:
            raise InvalidInput("pictures are not read here", field="images", fix="ask the image encoder")
        check_texts(request.texts)
        if request.output == encoder_pb2.ENCODING_OUTPUT_EMBEDDINGS:
            digest = await asyncio.to_thread(self._digest_of, request.model)
            embedded = await self._embedder.embed(digest, request.texts)
            return wire.EncodeResponse(
                embeddings=[
                    encoder_pb2.Embedding(values=each.vector.astype(np.dtype("<f4")).tobytes())
                    for each in embedded
                ],
                num_tokens=[each.num_tokens for each in embedded],
            )
        tokenizer = await asyncio.to_thread(self._tokenizer_of, request.model)
        ids = await asyncio.to_thread(encode_texts, request.texts, tokenizer)
        return wire.EncodeResponse(tokens=[encoder_pb2.Tokens(ids=each) for each in ids])

    async def Search(self, request: wire.SearchRequest, context: Context) -> wire.SearchResponse:
        """Refuse: pictures are what is searched."""
        raise InvalidInput("texts are not searched", field="dataset", fix="ask the image encoder")
