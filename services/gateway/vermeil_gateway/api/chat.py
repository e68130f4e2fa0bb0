"""/v1/chat/completions, as OpenAI's clients call it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from vermeil_gateway.api.shared import WithClients
from vermeil_gateway.disconnect import DONE, EventStream, event, until_disconnect
from vermeil_gateway.generate import Answer, begin
from vermeil_gateway.names import short_name
from vermeil_gateway.openai.answers import Envelope
from vermeil_gateway.openai.chat_answer import CHUNK, WHOLE, chunks, whole
from vermeil_gateway.openai.chat_request import ChatRequest

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/chat/completions", response_class=JSONResponse)
async def create_chat_completion(body: ChatRequest, request: Request, clients: WithClients) -> Response:
    """Answer a conversation."""
    request_id = request.state.request_id
    answer = await until_disconnect(request, begin(clients, [body.to_generate(request_id)], 1))
    envelope = Envelope.now(
        f"chatcmpl-{request_id}", CHUNK if body.stream else WHOLE, short_name(answer.model)
    )
    if body.stream:
        return EventStream(_events(answer, envelope, body), answer.pieces.aclose)
    async with aclosing(answer.pieces):
        told = whole(envelope, answer.pieces, logprobs=bool(body.logprobs))
        return JSONResponse(await until_disconnect(request, told))


async def _events(answer: Answer, envelope: Envelope, body: ChatRequest) -> AsyncGenerator[bytes, None]:
    told = chunks(envelope, answer.pieces, logprobs=bool(body.logprobs), include_usage=body.include_usage)
    async for chunk in told:
        yield event(chunk)
    yield DONE
