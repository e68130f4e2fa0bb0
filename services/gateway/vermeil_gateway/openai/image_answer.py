"""Answers of /v1/images/generations: whole, or as events of a stream."""

import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from vermeil.content.v1.content_pb2 import Media
from vermeil.generation.v1.generation_pb2 import GeneratedImage, ImageUsage
from vermeil.generation.v1.generation_service_pb2 import GenerateImagesResponse

from vermeil_gateway.openai.answers import Json

PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"
PROGRESS = "image_generation.progress"

Messages = AsyncIterator[GenerateImagesResponse]
Located = Callable[[Media], Awaitable[Json]]
"""The entry of a picture that says where it is: {"b64_json": …} or {"url": …}."""


async def whole(model: str, messages: Messages, located: Located) -> Json:
    """The answer in one piece."""
    entries: dict[int, Json] = {}
    size, usage = "", ImageUsage()
    async for message in messages:
        if message.HasField("usage"):
            usage = message.usage
        if message.HasField("image"):
            image = message.image
            entries[image.index] = {**await located(image.part.image), "seed": image.seed}
            size = _size(image)
    return {
        "created": int(time.time()),
        "model": model,
        "data": [entries[index] for index in sorted(entries)],
        "output_format": "png",
        "size": size,
        "usage": _usage(usage),
    }


async def events(messages: Messages, located: Located, *, progress: bool) -> AsyncIterator[Json]:
    """The answer as it comes; the usage of all is told with the last picture."""
    async for message in messages:
        match message.WhichOneof("event"):
            case "progress" if progress:
                done, total = message.progress.steps_done, message.progress.steps_total
                yield {"type": PROGRESS, "steps_done": done, "steps_total": total}
            case "preview":
                number = message.preview.number
                entry = await _entry(PARTIAL, message.preview.image, located)
                yield {**entry, "partial_image_index": number}
            case "image":
                entry = await _entry(COMPLETED, message.image, located)
                yield {**entry, "usage": _usage(message.usage)}


async def as_base64(file: Awaitable[bytes]) -> Json:
    """A picture in the answer itself."""
    return {"b64_json": base64.b64encode(await file).decode()}


async def _entry(type_: str, image: GeneratedImage, located: Located) -> Json:
    return {
        "type": type_,
        **await located(image.part.image),
        "created_at": int(time.time()),
        "size": _size(image),
        "output_format": "png",
        "quality": "auto",
        "background": "auto",
        "image_index": image.index,
        "seed": image.seed,
    }


def _size(image: GeneratedImage) -> str:
    return f"{image.width}x{image.height}"


def _usage(usage: ImageUsage) -> Json:
    """Tokens of the prompt in, patches of pictures out."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"text_tokens": usage.prompt_tokens, "image_tokens": 0},
        "output_tokens": usage.image_patches,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": usage.image_patches},
        "total_tokens": usage.prompt_tokens + usage.image_patches,
    }
