"""/v1/completions, as OpenAI's clients call it."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from vermeil_gateway.api.shared import WithClients, WithPictures
from vermeil_gateway.disconnect import DONE, EventStream, event, until_disconnect
from vermeil_gateway.generate import Answer, begin
from vermeil_gateway.names import short_name
from vermeil_gateway.openai.answers import Envelope, Json
from vermeil_gateway.openai.chat_images import File
from vermeil_gateway.openai.completion_answer import OBJECT, chunks, whole
from vermeil_gateway.openai.completion_request import CompletionRequest
from vermeil_gateway.spent import spent_by

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/completions", response_class=JSONResponse)
async def create_completion(
    body: CompletionRequest, request: Request, clients: WithClients, pictures: WithPictures
) -> Response:
    """Continue a text, or several."""
    file = pictures.file_of
    asked = body.to_generate(request.state.request_id)
    at_once = request.app.state.settings.gateway_prompts_at_once
    if not body.stream:
        told = _whole(begin(clients, asked, at_once, spent_by(request)), body, request, file)
        return JSONResponse(await until_disconnect(request, told))
    answer = await until_disconnect(request, begin(clients, asked, at_once, spent_by(request)))
    return EventStream(_events(answer, _envelope(request, answer), body, file), answer.pieces.aclose)


def _envelope(request: Request, answer: Answer) -> Envelope:
    return Envelope.now(f"cmpl-{request.state.request_id}", OBJECT, short_name(answer.model))


async def _whole(beginning: Awaitable[Answer], body: CompletionRequest, request: Request, file: File) -> Json:
    answer = await beginning
    async with aclosing(answer.pieces):
        envelope = _envelope(request, answer)
        return await whole(envelope, answer.pieces, file, logprobs=body.logprobs is not None)


async def _events(
    answer: Answer, envelope: Envelope, body: CompletionRequest, file: File
) -> AsyncGenerator[bytes, None]:
    options = {"logprobs": body.logprobs is not None, "include_usage": body.include_usage}
    told = chunks(envelope, answer.pieces, file, **options)
    async for chunk in told:
        yield event(chunk)
    yield DONE
