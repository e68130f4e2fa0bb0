"""Pictures in conversations, both ways: data: URLs in messages and answers ↔ parts of content.

Answers carry them as OpenRouter and LiteLLM do, in `images` beside `content`. Of ours is `offset`, the
characters of content before a picture: with it an answer that is sent back reads as it was said.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from vermeil.content.v1.content_pb2 import Media, Part
from vermeil_errors import InvalidInput, TooLarge
from vermeil_rpc.media import MAX_INLINE_BYTES

from vermeil_gateway.protojson import Json

MAX_TOGETHER = 3 * 2**20
"""Bytes of all pictures and sounds of a request: messages between services end at 4 MiB."""
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)
_FIX = "send the picture itself, as data:image/png;base64,…"

File = Callable[[Media], Awaitable[bytes]]
"""Gives the file of a picture wherever it is."""


class Closed(BaseModel):
    """An object whose fields are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ImageUrl(Closed):
    """A picture, as a data: URL."""

    url: str
    detail: str | None = None


class AnswerImage(Closed):
    """A picture of an answer."""

    type: Literal["image_url"] = "image_url"
    image_url: ImageUrl
    index: int | None = None
    offset: int | None = Field(default=None, ge=0)


def picture_of(image: ImageUrl, path: str) -> Media:
    """The picture in a data: URL; errors call it `path`. Nothing is ever fetched."""
    found = _DATA_URL.fullmatch(image.url)
    if found is None:
        problem = "is not a data: URL"
        if image.url.startswith(("http:", "https:")):
            problem = "lies elsewhere, and nothing is fetched here: it is not a data: URL"
        raise InvalidInput.for_field(path, image.url, problem, _FIX)
    return media_of(found["data"], found["type"], path)


def media_of(encoded: str, media_type: str, path: str) -> Media:
    """A picture or a sound in base64."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise InvalidInput(f"is not base64: {error}", field=path, fix="encode the whole file") from error
    if len(data) > MAX_INLINE_BYTES:
        raise TooLarge(
            f"{len(data):,} bytes are more than {MAX_INLINE_BYTES:,}", field=path, fix="send a smaller one"
        )
    return Media(inline=data, media_type=media_type)


def check_together(media: Iterable[Media]) -> None:
    """Refuse more than one request can carry."""
    together = sum(len(each.inline) for each in media)
    if together > MAX_TOGETHER:
        raise TooLarge(
            f"all pictures have {together:,} bytes together, more than {MAX_TOGETHER:,}",
            field="messages",
            fix="send fewer or smaller ones",
        )


def with_images(text: str, images: Sequence[AnswerImage], path: str) -> list[Part]:
    """A text with pictures where they stood; those that do not say where stand at its end."""
    places = [len(text) if image.offset is None else min(image.offset, len(text)) for image in images]
    order = sorted(range(len(images)), key=places.__getitem__)
    bounds = pairwise([0, *(places[index] for index in order), len(text)])
    texts = [Part(text=text[begin:end]) for begin, end in bounds]
    shown = [
        Part(image=picture_of(images[index].image_url, f"{path}.images[{index}].image_url.url"))
        for index in order
    ]
    laced = [part for pair in zip(texts, shown, strict=False) for part in pair]
    return [*laced, texts[-1]] if texts[-1].text or not laced else laced


async def image_entry(media: Media, file: File, index: int, offset: int) -> Json:
    """A picture as answers carry it."""
    data = base64.b64encode(await file(media)).decode()
    url = f"data:{media.media_type or 'image/png'};base64,{data}"
    return {"type": "image_url", "image_url": {"url": url}, "index": index, "offset": offset}
