"""/v1/chat/completions, as OpenAI's clients call it."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from vermeil_gateway.api.shared import WithClients, WithPictures
from vermeil_gateway.disconnect import DONE, EventStream, event, until_disconnect
from vermeil_gateway.generate import Answer, begin
from vermeil_gateway.names import short_name
from vermeil_gateway.openai.answers import Envelope, Json
from vermeil_gateway.openai.chat_answer import CHUNK, WHOLE, chunks, whole
from vermeil_gateway.openai.chat_images import File
from vermeil_gateway.openai.chat_request import ChatRequest
from vermeil_gateway.spent import spent_by

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/chat/completions", response_class=JSONResponse)
async def create_chat_completion(
    body: ChatRequest, request: Request, clients: WithClients, pictures: WithPictures
) -> Response:
    """Answer a conversation."""
    file = pictures.file_of
    asked = [body.to_generate(request.state.request_id)]
    if not body.stream:
        told = _whole(begin(clients, asked, 1, spent_by(request)), body, request, file)
        return JSONResponse(await until_disconnect(request, told))
    answer = await until_disconnect(request, begin(clients, asked, 1, spent_by(request)))
    envelope = _envelope(request, CHUNK, answer)
    return EventStream(_events(answer, envelope, body, file), answer.pieces.aclose)


def _envelope(request: Request, kind: str, answer: Answer) -> Envelope:
    return Envelope.now(f"chatcmpl-{request.state.request_id}", kind, short_name(answer.model))


async def _whole(beginning: Awaitable[Answer], body: ChatRequest, request: Request, file: File) -> Json:
    answer = await beginning
    async with aclosing(answer.pieces):
        envelope = _envelope(request, WHOLE, answer)
        return await whole(envelope, answer.pieces, file, logprobs=bool(body.logprobs))


async def _events(
    answer: Answer, envelope: Envelope, body: ChatRequest, file: File
) -> AsyncGenerator[bytes, None]:
    options = {"logprobs": bool(body.logprobs), "include_usage": body.include_usage}
    told = chunks(envelope, answer.pieces, file, **options)
    async for chunk in told:
        yield event(chunk)
    yield DONE
