"""Encoding datasets, and finding samples by a text or a picture.

Bodies are the messages of EncoderService; which modality's encoder is asked follows from the body.
"""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vermeil.encoder.v1.encoder_service_pb2 import (
    SearchRequest,
    SearchResponse,
    StartEncodingRequest,
    StartEncodingResponse,
)

from vermeil_gateway.api.shared import (
    WithClients,
    check_priority,
    documented,
    given_request_id,
    read,
    shown,
)
from vermeil_gateway.api.work import ACCEPTED

router = APIRouter(tags=["Encoding"])


@router.post("/v1/encodings", **documented(StartEncodingResponse, StartEncodingRequest, ACCEPTED))
async def start_encoding(request: Request, clients: WithClients) -> JSONResponse:
    """Encode or embed a dataset; without a request_id the same work is done once."""
    message = await read(request, StartEncodingRequest())
    check_priority(request, message.priority)
    message.request_id = given_request_id(request, message.request_id)
    spec = message.spec
    of_pictures = spec.HasField("image") or spec.embedding_model
    encoder = clients.image_encoder if of_pictures else clients.text_encoder
    return shown(await clients.call(encoder.StartEncoding, message), ACCEPTED)


@router.post("/v1/search", **documented(SearchResponse, SearchRequest))
async def search(request: Request, clients: WithClients) -> JSONResponse:
    """The samples of an embedded dataset that are nearest to a text or a picture."""
    message = await read(request, SearchRequest())
    return shown(await clients.compute(clients.image_encoder.Search, message))
