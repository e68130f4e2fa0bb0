"""/v1/images: drawn on request as OpenAI's clients ask for them, and fetched again by their URL."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from vermeil.content.v1.content_pb2 import Media
from vermeil.generation.v1.generation_service_pb2 import GenerateImagesRequest, GenerateImagesResponse
from vermeil_errors import VermeilError

from vermeil_gateway.api.shared import WithClients, WithPictures
from vermeil_gateway.clients import Clients
from vermeil_gateway.disconnect import EventStream, event, until_disconnect
from vermeil_gateway.names import short_name
from vermeil_gateway.openai.answers import Json
from vermeil_gateway.openai.image_answer import Located, as_base64, events, whole
from vermeil_gateway.openai.image_request import ImageRequest
from vermeil_gateway.openai.words import in_words_of_pictures
from vermeil_gateway.pictures import number_of
from vermeil_gateway.spent import Spent, spent_by

router = APIRouter(tags=["OpenAI"])

PNG = "image/png"
_YEAR = 365 * 24 * 3600

Told = AsyncGenerator[GenerateImagesResponse, None]


@router.post("/v1/images/generations", response_class=JSONResponse)
async def create_images(
    body: ImageRequest, request: Request, clients: WithClients, pictures: WithPictures
) -> Response:
    """Draw pictures."""
    asked = body.to_generate(request.state.request_id)

    async def located(media: Media) -> Json:
        if body.wants_urls:
            return {"url": f"{request.base_url}v1/images/{number_of(media)}"}
        return await as_base64(pictures.file_of(media))

    beginning = _begin(clients, asked, spent_by(request))
    if not body.stream:
        return JSONResponse(await until_disconnect(request, _whole(beginning, located)))
    first, others = await until_disconnect(request, beginning)
    messages = _chained(first, others)
    return EventStream(_events(messages, located, progress=bool(body.progress)), others.aclose)


@router.get("/v1/images/{image}", response_class=Response, responses={200: {"content": {PNG: {}}}})
async def get_image(image: str, pictures: WithPictures) -> Response:
    """A picture that was drawn with response_format = url, as a PNG file."""
    file = await pictures.read(image)
    headers = {"cache-control": f"private, max-age={_YEAR}, immutable", "x-content-type-options": "nosniff"}
    return Response(file, media_type=PNG, headers=headers)


async def _begin(
    clients: Clients, asked: GenerateImagesRequest, spent: Spent
) -> tuple[GenerateImagesResponse, Told]:
    """Ask, and wait for the first message: whatever is wrong with the request is said before it."""
    messages = spent.counting(clients.generate_images(asked))
    try:
        return await anext(messages), messages
    except VermeilError as error:
        raise in_words_of_pictures(error) from error
    except BaseException:
        await messages.aclose()
        raise


async def _whole(beginning: Awaitable[tuple[GenerateImagesResponse, Told]], located: Located) -> Json:
    first, others = await beginning
    async with aclosing(others):
        return await whole(short_name(first.model), _chained(first, others), located)


async def _chained(first: GenerateImagesResponse, others: Told) -> AsyncIterator[GenerateImagesResponse]:
    yield first
    async for message in others:
        yield message


async def _events(
    messages: AsyncIterator[GenerateImagesResponse], located: Located, *, progress: bool
) -> AsyncGenerator[bytes, None]:
    async for told in events(messages, located, progress=progress):
        yield event(told, str(told["type"]))
