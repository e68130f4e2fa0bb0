"""A generator that knows its answer by heart."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from vermeil.content.v1.content_pb2 import Part, ToolCall
from vermeil.generation.v1 import generation_service_pb2 as generation
from vermeil.generation.v1.generation_pb2 import FinishReason, TokenLogprob, TopLogprob, Usage
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceServicer
from vermeil_artifacts import MemoryStore
from vermeil_errors import InvalidInput, NotFound, Unavailable, VermeilError

from vermeil_gateway.fakes.pictures import FOREVER, draw, picture_part
from vermeil_gateway.fakes.registry import IMAGE_MODEL, IMAGE_VERSION, MODEL, VERSION

PROMPT_TOKENS = 5
"""Counted for every prompt."""
CACHED_TOKENS = 2
"""Of these."""
GREY = 7
"""Of the pictures in answers."""


class FakeGeneration(GenerationServiceServicer):
    """Says the same words to every prompt, one a piece; to `wait` it hangs, to `fail` it fails midway.

    To `hold` it goes on when `release` was called, to `die` it goes away midway, to `call` it calls a tool.
    To `draw` it shows a picture after the first word, to `keep` one that lies in the store.
    """

    def __init__(self, words: tuple[str, ...] = ("Hello", ",", " world")) -> None:
        self.words = words
        self.requests: list[generation.GenerateRequest] = []
        self.image_requests: list[generation.GenerateImagesRequest] = []
        self.store = MemoryStore()
        """Where pictures are kept that were asked for as artifacts."""
        self.headers: list[dict[str, str]] = []
        self.num_active = 0
        self._released = asyncio.Event()
        self.refusal: VermeilError | None = None

    async def release(self) -> None:
        """Go on."""
        self._released.set()

    async def Generate(
        self, request: generation.GenerateRequest, context: Any
    ) -> AsyncIterator[generation.GenerateResponse]:
        """The words."""
        self.requests.append(request)
        self.headers.append(dict(context.invocation_metadata() or ()))
        if self.refusal is not None:
            raise self.refusal
        if request.model in (IMAGE_MODEL, IMAGE_VERSION):
            raise InvalidInput.for_field("model", request.model, "draws pictures and writes no text")
        if request.model not in (MODEL, VERSION):
            raise NotFound("no such model", field="model", value=request.model)
        num_choices = request.num_choices or 1
        self.num_active += 1
        try:
            for choice in range(num_choices):
                async for piece in self._choice(choice, request):
                    yield piece
                calls = bool(request.tools) and _prompt(request) == "call"
                reason = FinishReason.FINISH_REASON_TOOL_CALL if calls else FinishReason.FINISH_REASON_STOP
                last = generation.GenerateResponse(choice=choice, finish_reason=reason)
                if choice == num_choices - 1:
                    spoken = len(self.words) * num_choices
                    last.usage.CopyFrom(
                        Usage(
                            prompt_tokens=PROMPT_TOKENS,
                            completion_tokens=spoken,
                            cached_prompt_tokens=CACHED_TOKENS,
                        )
                    )
                yield last
        finally:
            self.num_active -= 1

    async def _choice(
        self, choice: int, request: generation.GenerateRequest
    ) -> AsyncIterator[generation.GenerateResponse]:
        prompt = _prompt(request)
        if request.tools and prompt == "call":
            async for piece in _called(choice, request):
                yield piece
            return
        words = [prompt, *self.words] if request.echo else list(self.words)
        offset = 0 if request.echo else len(prompt)
        for place, word in enumerate(words):
            piece = generation.GenerateResponse(choice=choice, delta=Part(text=word))
            if choice == place == 0:
                piece.model = VERSION
            if request.HasField("num_logprobs"):
                first_of_all = request.echo and place == 0
                piece.tokens.append(_token(place, word, offset, request.num_logprobs, first_of_all))
            offset += len(word)
            yield piece
            if place == 0 and prompt in ("draw", "keep"):
                store = self.store if prompt == "keep" else None
                yield generation.GenerateResponse(choice=choice, delta=picture_part(GREY, store))
            if prompt == "wait":
                await asyncio.sleep(FOREVER)
            if prompt == "fail":
                raise InvalidInput("the fake was asked to fail")
            if prompt == "die":
                raise Unavailable("the fake was asked to die")
            if prompt == "hold":
                await self._released.wait()

    async def GenerateImages(
        self, request: generation.GenerateImagesRequest, context: Any
    ) -> AsyncIterator[generation.GenerateImagesResponse]:
        """Grey squares."""
        self.image_requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        if request.model in (MODEL, VERSION):
            raise InvalidInput.for_field("model", request.model, "writes text and draws no pictures")
        if request.model not in (IMAGE_MODEL, IMAGE_VERSION):
            raise NotFound("no such model", field="model", value=request.model)
        self.num_active += 1
        try:
            async for message in draw(request, self.store):
                yield message
        finally:
            self.num_active -= 1

    async def LoadModel(self, request: generation.LoadModelRequest, context: Any) -> Any:
        """Nothing to load."""
        return generation.LoadModelResponse()

    async def UnloadModel(self, request: generation.UnloadModelRequest, context: Any) -> Any:
        """Nothing to unload."""
        return generation.UnloadModelResponse()

    async def ListLoadedModels(self, request: generation.ListLoadedModelsRequest, context: Any) -> Any:
        """Nothing is loaded."""
        return generation.ListLoadedModelsResponse()


async def _called(
    choice: int, request: generation.GenerateRequest
) -> AsyncIterator[generation.GenerateResponse]:
    """A call of the first tool, or of the one that is named."""
    tool = request.tool_choice.tool or request.tools[0].name
    arguments = '{"city": "Rome"}'
    call = ToolCall(id=f"call_{choice}", tool=tool, arguments_json=arguments)
    yield generation.GenerateResponse(choice=choice, delta=Part(tool_call=call), model=VERSION)


def _prompt(request: generation.GenerateRequest) -> str:
    match request.WhichOneof("input"):
        case "conversation":
            return request.conversation.messages[-1].parts[0].text
        case "tokens":
            return " ".join(map(str, request.tokens.ids))
    return request.prompt


def _token(place: int, word: str, offset: int, num_top: int, first: bool) -> TokenLogprob:
    likely = [TopLogprob(id=100 + rank, text=f"<{rank}>", logprob=-0.1 - rank) for rank in range(num_top)]
    return TokenLogprob(
        id=place, text=word, offset=offset, logprob=None if first else -0.5, top=() if first else likely
    )
