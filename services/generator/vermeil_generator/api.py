"""GenerationService: message in, domain call, message out."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, nullcontext
from typing import Any

from vermeil.content.v1.content_pb2 import Part
from vermeil.generation.v1 import generation_service_pb2 as wire
from vermeil.generation.v1.generation_pb2 import Usage
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceServicer
from vermeil_errors import InvalidInput
from vermeil_media import Pixels

from vermeil_generator.ask import Ask
from vermeil_generator.image_messages import Telling, image_ask_from_message
from vermeil_generator.keep import Keep, as_part
from vermeil_generator.loaded import drawing, writing
from vermeil_generator.messages import Fetch, ask_from_message, loaded_to_message, piece_to_messages
from vermeil_generator.models import Models
from vermeil_generator.painter import Progress
from vermeil_generator.piece import Piece
from vermeil_generator.tool_calls import with_calls

FORMATS_AT_ONCE = 2
"""Compiling one may take seconds, and the threads are there for every question."""
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


class GenerationServicer(GenerationServiceServicer):
    """Answers for GenerationService."""

    def __init__(self, models: Models, keep: Keep, fetch: Fetch) -> None:
        self._models = models
        self._keep = keep
        self._fetch = fetch
        self._formats = asyncio.Semaphore(FORMATS_AT_ONCE)

    async def Generate(
        self, request: wire.GenerateRequest, context: Any
    ) -> AsyncGenerator[wire.GenerateResponse, None]:
        """Stream the answers; a caller that goes away frees their places."""
        ask = ask_from_message(request, self._fetch)
        async with self._models.using(ask.model) as found:
            model = writing(found)
            format_ = ask.output_format
            compiles = format_ is not None and not model.grammars.knows(format_)
            async with self._formats if compiles else nullcontext():
                question = await asyncio.to_thread(model.prepare, ask)
            num_open, is_first = question.num_choices, True
            usage = Usage(prompt_tokens=question.prompt.num_tokens)
            cached: list[int] = []
            async with aclosing(self._pieces(model.answer(question), ask)) as pieces:
                async for piece in pieces:
                    num_open -= piece.finish is not None
                    usage.completion_tokens += piece.num_tokens
                    if piece.finish is not None:
                        cached.append(piece.num_cached)
                    for message in await self._on_the_wire(piece):
                        if is_first:
                            message.model, is_first = model.name, False
                        if num_open == 0:
                            # Choices read the prompt from one another; what none had to read counts.
                            usage.cached_prompt_tokens = min(cached)
                            message.usage.CopyFrom(usage)
                        yield message

    @staticmethod
    def _pieces(pieces: AsyncGenerator[Piece, None], ask: Ask) -> AsyncGenerator[Piece, None]:
        return with_calls(pieces) if ask.may_call else pieces

    async def _on_the_wire(self, piece: Piece) -> Iterable[wire.GenerateResponse]:
        def as_image(pixels_HWC: Pixels) -> Part:
            return as_part(pixels_HWC, self._keep, as_artifact=False)

        if piece.picture is None:
            return piece_to_messages(piece, as_image)
        return await asyncio.to_thread(lambda: list(piece_to_messages(piece, as_image)))

    async def GenerateImages(
        self, request: wire.GenerateImagesRequest, context: Any
    ) -> AsyncGenerator[wire.GenerateImagesResponse, None]:
        """Stream progress and pictures; a caller that goes away frees their places within a step."""
        ask = image_ask_from_message(request)

        def part_of(pixels_HWC: Pixels, is_preview: bool) -> Part:
            return as_part(pixels_HWC, self._keep, as_artifact=ask.as_artifacts and not is_preview)

        async with self._models.using(ask.model) as found:
            model = drawing(found)
            order = await asyncio.to_thread(model.prepare, ask)
            telling = Telling(model, order, part_of)
            async with aclosing(model.draw(order)) as events:
                async for event in events:
                    if isinstance(event, Progress):
                        yield telling.tell(event)
                    else:
                        yield await asyncio.to_thread(telling.tell, event)

    async def LoadModel(self, request: wire.LoadModelRequest, context: Any) -> wire.LoadModelResponse:
        """Bring a model version into memory."""
        async with self._models.using(request.model) as model:
            return wire.LoadModelResponse(model=loaded_to_message(model, num_active=0))

    async def UnloadModel(self, request: wire.UnloadModelRequest, context: Any) -> wire.UnloadModelResponse:
        """Free a model version once its requests are answered."""
        await self._models.unload(request.model)
        return wire.UnloadModelResponse()

    async def ListLoadedModels(
        self, request: wire.ListLoadedModelsRequest, context: Any
    ) -> wire.ListLoadedModelsResponse:
        """List the model versions in memory, by name; the page token is the last name seen."""
        if not 0 <= request.page_size <= MAX_PAGE_SIZE:
            raise InvalidInput.for_field(
                "page_size", request.page_size, "is out of range", f"send 1 to {MAX_PAGE_SIZE}"
            )
        size = request.page_size or DEFAULT_PAGE_SIZE
        rest = [entry for entry in self._models.loaded() if entry[0].name > request.page_token]
        page = rest[:size]
        return wire.ListLoadedModelsResponse(
            models=[loaded_to_message(model, num_users) for model, num_users in page],
            next_page_token=page[-1][0].name if len(rest) > size else "",
        )
