"""POST /v1/images/generations: the request and what the generator is asked for it."""

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from vermeil.generation.v1.generation_pb2 import ImageSampling
from vermeil.generation.v1.generation_service_pb2 import GenerateImagesRequest
from vermeil_errors import InvalidInput

from vermeil_gateway.names import resource_name
from vermeil_gateway.openai.fields import Neutral, supported

_SIZE = re.compile(r"(?P<width>[1-9][0-9]{0,4})x(?P<height>[1-9][0-9]{0,4})")
_UNSUPPORTED: Mapping[str, Neutral] = {
    "background": (None, "auto"),
    "moderation": (None, "auto", "low"),
    "output_compression": (None, 100),
    "output_format": (None, "png"),
    "quality": (None, "auto", "standard"),
    "style": (None,),
    "svg": (None,),
}
_EXAMPLE: dict[str, Any] = {"model": "digits-image", "prompt": "7", "n": 4, "seed": 1}


class ImageRequest(BaseModel):
    """Pictures wanted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [_EXAMPLE]},
    )

    model: str = Field(min_length=1, max_length=256, examples=["digits-image", "digits-image@3"])
    """A model of GET /v1/models that gives images, or one version of it."""
    prompt: str = Field(max_length=32_000)
    """A text or the name of a class, whichever the model was taught by; empty lets the model choose."""
    n: int | None = Field(default=None, ge=1, le=64)
    """Pictures wanted; default 1."""
    size: str | None = Field(default=None, max_length=16, examples=["auto", "64x64"])
    """auto, or width x height in pixels, which must be the model's."""
    response_format: Literal["b64_json", "url"] | None = None
    """The PNG file as base64 (default), or a URL where it can be fetched with the same API key."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Picture i is drawn from seed + i. Not one of OpenAI's."""
    steps: int | None = Field(default=None, ge=1, le=1000)
    """Steps from noise to picture; default what suits the model. Not one of OpenAI's."""
    guidance: float | None = Field(default=None, ge=0, le=30)
    """How strongly the prompt is followed: 0 not at all, 1 as it is; default what suits the model. Not of
    OpenAI's."""
    solver: Literal["euler", "heun"] | None = None
    """How the flow is followed; default euler. Not one of OpenAI's."""
    stream: bool | None = False
    """Send server-sent events while drawing."""
    partial_images: int | None = Field(default=None, ge=0, le=8)
    """Previews of each picture in the stream."""
    progress: bool | None = False
    """Also send `image_generation.progress` events in the stream. Not one of OpenAI's."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, body: object) -> object:
        return supported(body, _UNSUPPORTED) if isinstance(body, dict) else body

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.partial_images and not self.stream:
            raise ValueError("partial_images: only with stream = true")
        if self.progress and not self.stream:
            raise ValueError("progress: only with stream = true")
        if self.stream and self.response_format == "url":
            raise ValueError("response_format: a stream carries b64_json only")
        return self

    @property
    def wants_urls(self) -> bool:
        """Whether pictures are kept and named instead of sent."""
        return self.response_format == "url"

    def to_generate(self, request_id: str) -> GenerateImagesRequest:
        """What the generator is asked for."""
        width, height = self._size()
        sampling = ImageSampling(steps=self.steps, guidance=self.guidance, seed=self.seed)
        if self.solver:
            sampling.solver = self.solver
        return GenerateImagesRequest(
            model=resource_name(self.model),
            prompt=self.prompt,
            num_images=self.n or 1,
            sampling=sampling,
            width=width,
            height=height,
            num_previews=self.partial_images or 0,
            as_artifacts=self.wants_urls,
            request_id=request_id,
        )

    def _size(self) -> tuple[int, int]:
        if self.size in (None, "auto"):
            return 0, 0
        found = _SIZE.fullmatch(self.size or "")
        if found is None:
            raise InvalidInput.for_field("size", self.size, "is no size", "send auto, or such as 64x64")
        return int(found["width"]), int(found["height"])
