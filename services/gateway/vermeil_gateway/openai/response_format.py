"""What an answer must look like, as OpenAI's clients say it, and vLLM's for what OpenAI has no word for.

vLLM took `guided_regex` away in its version 0.12: `structured_outputs: {"regex": …}` is its name since then.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from vermeil.generation.v1.generation_pb2 import OutputFormat
from vermeil_errors import InvalidInput


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class NamedSchema(_Closed):
    """A JSON Schema under a name."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")
    """What it is called; it changes nothing."""
    description: str | None = None
    """What it is for; it changes nothing."""
    schema_: dict[str, Any] = Field(alias="schema")
    """The schema; properties come in its order."""
    strict: bool | None = None
    """Accepted either way: every answer keeps to the schema."""


class ResponseFormat(_Closed):
    """Text as it comes, JSON of a schema, or any JSON object."""

    type: Literal["text", "json_schema", "json_object"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _has_the_schema_that_its_type_asks_for(self) -> Self:
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise ValueError("json_schema: goes with type json_schema, and only there")
        return self

    def to_output(self) -> OutputFormat | None:
        """As the contract says it; None for text."""
        if self.json_schema is not None:
            return OutputFormat(json_schema=json.dumps(self.json_schema.schema_, ensure_ascii=False))
        return OutputFormat(json_object=True) if self.type == "json_object" else None


class StructuredOutputs(_Closed):
    """Text of a regular expression."""

    regex: str = Field(min_length=1)
    """Matches the whole answer; in Rust's syntax, without look-around and references back."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_forms(cls, given: object) -> object:
        others = set(given) - {"regex"} if isinstance(given, Mapping) else set()
        if others:
            name = min(others)
            raise InvalidInput.for_field(
                f"structured_outputs.{name}",
                name,
                "is not supported",
                "send regex, or a schema in response_format",
            )
        return given
