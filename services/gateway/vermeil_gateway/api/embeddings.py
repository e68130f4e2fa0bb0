"""/v1/embeddings, as OpenAI's clients call it."""

import base64
from array import array
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vermeil_errors import InvalidInput, VermeilError

from vermeil_gateway.api.shared import WithClients
from vermeil_gateway.clients import Clients
from vermeil_gateway.disconnect import until_disconnect
from vermeil_gateway.openai.embedding_request import EmbeddingRequest
from vermeil_gateway.openai.words import in_words_of_embeddings
from vermeil_gateway.spent import Spent, spent_by

router = APIRouter(tags=["OpenAI"])

Json = dict[str, Any]
_FLOAT_BYTES = 4


@router.post("/v1/embeddings", response_class=JSONResponse)
async def create_embeddings(body: EmbeddingRequest, request: Request, clients: WithClients) -> JSONResponse:
    """Turn texts into vectors of length 1."""
    return JSONResponse(await until_disconnect(request, _answer(clients, body, spent_by(request))))


async def _answer(clients: Clients, body: EmbeddingRequest, spent: Spent) -> Json:
    data: list[Json] = []
    for place, asked in enumerate(body.to_encode()):
        try:
            found = await clients.compute(clients.text_encoder.Encode, asked)
        except VermeilError as error:
            raise in_words_of_embeddings(error, len(data)) from error
        if not place:
            _check_width(body, len(found.embeddings[0].values) // _FLOAT_BYTES)
        spent.read += sum(found.num_tokens)
        for each in found.embeddings:
            shown = _shown(each.values, as_base64=body.encoding_format == "base64")
            data.append({"object": "embedding", "index": len(data), "embedding": shown})
    usage = {"prompt_tokens": spent.read, "total_tokens": spent.read}
    return {"object": "list", "model": body.model, "data": data, "usage": usage}


def _check_width(body: EmbeddingRequest, width: int) -> None:
    if body.dimensions not in (None, width):
        raise InvalidInput.for_field(
            "dimensions", body.dimensions, f"is not the width of {body.model}, {width}", "leave it out"
        )


def _shown(values: bytes, *, as_base64: bool) -> str | list[float]:
    if as_base64:
        return base64.b64encode(values).decode()
    numbers = array("f")
    numbers.frombytes(values)
    return numbers.tolist()
