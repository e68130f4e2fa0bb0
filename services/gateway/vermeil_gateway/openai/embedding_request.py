"""POST /v1/embeddings: the request and what the text encoder is asked for it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict
from vermeil.encoder.v1.encoder_pb2 import ENCODING_OUTPUT_EMBEDDINGS
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest

from vermeil_gateway.names import resource_name

MAX_INPUTS = 2048
"""OpenAI's."""
AT_ONCE = 256
"""Texts of one call to the encoder, at most."""
BYTES_AT_ONCE = 2**19
"""Bytes of these, at most, but for a text that is longer."""
_EXAMPLE: dict[str, Any] = {"model": "vermeil-nano", "input": ["a round stone", "moss"]}
_INPUT_SCHEMA: JsonDict = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _as_texts(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise ValueError(
        "must be a text or a list of texts: ids of tokens differ from model to model and are not read here"
    )


class EmbeddingRequest(BaseModel):
    """Texts to turn into vectors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [_EXAMPLE]},
    )

    model: str = Field(min_length=1, max_length=256, examples=["dual-emoji", "vermeil-nano@3"])
    """A dual model, whose texts and pictures share a space, or a text model: the mean of its last states."""
    texts: Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_as_texts)] = Field(
        alias="input", min_length=1, max_length=MAX_INPUTS, json_schema_extra=_INPUT_SCHEMA
    )
    """A text, or several."""
    encoding_format: Literal["float", "base64"] | None = None
    """Numbers (default), or float32, little-endian, in base64."""
    dimensions: int | None = Field(default=None, ge=1)
    """Accepted where it is the model's width: vectors are not shortened."""
    user: str | None = None
    """Accepted; it changes nothing."""

    def to_encode(self) -> Iterator[EncodeRequest]:
        """The calls that answer it, in order."""
        some: list[str] = []
        num_bytes = 0
        for text in self.texts:
            more = len(text.encode())
            if some and (len(some) == AT_ONCE or num_bytes + more > BYTES_AT_ONCE):
                yield self._asking(some)
                some, num_bytes = [], 0
            some.append(text)
            num_bytes += more
        yield self._asking(some)

    def _asking(self, texts: list[str]) -> EncodeRequest:
        return EncodeRequest(model=resource_name(self.model), texts=texts, output=ENCODING_OUTPUT_EMBEDDINGS)
