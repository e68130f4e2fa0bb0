"""/v1/completions, as OpenAI's clients call it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from vermeil_gateway.api.shared import WithClients
from vermeil_gateway.disconnect import DONE, EventStream, event, until_disconnect
from vermeil_gateway.generate import Answer, begin
from vermeil_gateway.names import short_name
from vermeil_gateway.openai.answers import Envelope
from vermeil_gateway.openai.completion_answer import OBJECT, chunks, whole
from vermeil_gateway.openai.completion_request import CompletionRequest

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/completions", response_class=JSONResponse)
async def create_completion(body: CompletionRequest, request: Request, clients: WithClients) -> Response:
    """Continue a text, or several."""
    request_id = request.state.request_id
    at_once = request.app.state.settings.gateway_prompts_at_once
    answer = await until_disconnect(request, begin(clients, body.to_generate(request_id), at_once))
    envelope = Envelope.now(f"cmpl-{request_id}", OBJECT, short_name(answer.model))
    if body.stream:
        return EventStream(_events(answer, envelope, body), answer.pieces.aclose)
    async with aclosing(answer.pieces):
        told = whole(envelope, answer.pieces, logprobs=body.logprobs is not None)
        return JSONResponse(await until_disconnect(request, told))


async def _events(answer: Answer, envelope: Envelope, body: CompletionRequest) -> AsyncGenerator[bytes, None]:
    told = chunks(
        envelope, answer.pieces, logprobs=body.logprobs is not None, include_usage=body.include_usage
    )
    async for chunk in told:
        yield event(chunk)
    yield DONE
