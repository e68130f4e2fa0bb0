"""/v1/embeddings, as OpenAI's clients call it.

An answer may be tens of megabytes of numbers, and whoever writes JSON holds the interpreter, in a thread too:
vectors are written one at a time, and others go on in between.
"""

import asyncio
import base64
import json
from array import array
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from vermeil_errors import InvalidInput, VermeilError

from vermeil_gateway.api.shared import WithClients
from vermeil_gateway.clients import Clients
from vermeil_gateway.disconnect import until_disconnect
from vermeil_gateway.openai.embedding_request import EmbeddingRequest
from vermeil_gateway.openai.words import in_words_of_embeddings
from vermeil_gateway.spent import Spent, spent_by

router = APIRouter(tags=["OpenAI"])

_FLOAT_BYTES = 4


@router.post("/v1/embeddings", response_class=JSONResponse)
async def create_embeddings(
    body: EmbeddingRequest, request: Request, clients: WithClients
) -> StreamingResponse:
    """Turn texts into vectors of length 1."""
    pieces = await until_disconnect(request, _answer(clients, body, spent_by(request)))
    headers = {"content-length": str(sum(map(len, pieces)))}
    return StreamingResponse(_each(pieces), media_type="application/json", headers=headers)


async def _answer(clients: Clients, body: EmbeddingRequest, spent: Spent) -> list[bytes]:
    vectors: list[bytes] = []
    for place, asked in enumerate(body.to_encode()):
        try:
            found = await clients.compute(clients.text_encoder.Encode, asked)
        except VermeilError as error:
            raise in_words_of_embeddings(error, len(vectors)) from error
        if not place:
            _check_width(body, len(found.embeddings[0].values) // _FLOAT_BYTES)
        spent.read += sum(found.num_tokens)
        for each in found.embeddings:
            vectors.append(_shown(len(vectors), each.values, as_base64=body.encoding_format == "base64"))
            await asyncio.sleep(0)
    usage = {"prompt_tokens": spent.read, "total_tokens": spent.read}
    told = json.dumps({"object": "list", "model": body.model, "usage": usage})
    return [f'{told[:-1]}, "data": ['.encode(), *vectors, b"]}"]


async def _each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _check_width(body: EmbeddingRequest, width: int) -> None:
    if body.dimensions not in (None, width):
        raise InvalidInput.for_field(
            "dimensions", body.dimensions, f"is not the width of {body.model}, {width}", "leave it out"
        )


def _shown(index: int, values: bytes, *, as_base64: bool) -> bytes:
    """A vector as it stands in the list of the answer."""
    if as_base64:
        vector = b'"%b"' % base64.b64encode(values)
    else:
        numbers = array("f")
        numbers.frombytes(values)
        vector = json.dumps(numbers.tolist(), allow_nan=False, separators=(",", ":")).encode()
    comma = b"," if index else b""
    return b'%b{"object":"embedding","index":%d,"embedding":%b}' % (comma, index, vector)
