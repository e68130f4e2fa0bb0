"""Pictures of a generator that knows its answers: squares of one grey, which is the seed."""

import asyncio
import struct
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from vermeil.artifact.v1.artifact_pb2 import ArtifactRef
from vermeil.content.v1.content_pb2 import Media, Part
from vermeil.generation.v1 import generation_pb2 as wire
from vermeil.generation.v1.generation_service_pb2 import GenerateImagesRequest, GenerateImagesResponse
from vermeil_artifacts import ArtifactStore
from vermeil_errors import InvalidInput

from vermeil_gateway.fakes.registry import IMAGE_VERSION
from vermeil_gateway.pictures import FILE, KIND

SIDE = 8
"""Pixels of a picture, in both directions."""
STEPS = 4
FOREVER = 86_400
"""Seconds; the loop holds who sleeps, and nobody holds who waits for an event of their own."""


async def draw(request: GenerateImagesRequest, store: ArtifactStore) -> AsyncIterator[GenerateImagesResponse]:
    """Progress, previews and pictures; to the prompt `wait` it hangs, to `fail` it fails midway."""
    if {request.width, request.height} - {0, SIDE}:
        problem = f"this model draws {SIDE}x{SIDE} only"
        raise InvalidInput.for_field("width", request.width, problem, "ask for that, or leave it out")
    num_images = request.num_images
    total = num_images * STEPS
    yield GenerateImagesResponse(model=IMAGE_VERSION, progress=wire.ImageProgress(steps_total=total))
    for step in range(1, STEPS + 1):
        if request.prompt == "wait":
            await asyncio.sleep(FOREVER)
        if request.prompt == "fail":
            raise InvalidInput("the fake was asked to fail")
        done = wire.ImageProgress(steps_done=step * num_images, steps_total=total)
        yield GenerateImagesResponse(progress=done)
        if step <= request.num_previews:
            for index in range(num_images):
                preview = wire.ImagePreview(number=step - 1, image=_image(request, index, None))
                yield GenerateImagesResponse(preview=preview)
    for index in range(num_images):
        kept = store if request.as_artifacts else None
        message = GenerateImagesResponse(image=_image(request, index, kept))
        if index == num_images - 1:
            message.usage.CopyFrom(wire.ImageUsage(prompt_tokens=1, image_patches=4 * num_images))
        yield message


def png_of(grey: int, side: int = SIDE) -> bytes:
    """A PNG file of a square of one grey, 0 to 255."""
    rows = (b"\0" + bytes([grey]) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def picture_part(grey: int, store: ArtifactStore | None) -> Part:
    """A square of one grey, inline or in the store."""
    png = png_of(grey)
    media = Media(inline=png, media_type="image/png") if store is None else _kept(png, store)
    return Part(image=media)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _image(request: GenerateImagesRequest, index: int, store: ArtifactStore | None) -> wire.GeneratedImage:
    seed = request.sampling.seed + index
    part = picture_part(seed % 256, store)
    return wire.GeneratedImage(index=index, part=part, seed=seed, width=SIDE, height=SIDE)


def _kept(png: bytes, store: ArtifactStore) -> Media:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(png)
        ref = store.publish(Path(folder), kind=KIND)
    artifact = ArtifactRef(digest=ref.digest, kind=ref.kind, num_bytes=ref.num_bytes)
    return Media(artifact=artifact, path=FILE, media_type="image/png")
