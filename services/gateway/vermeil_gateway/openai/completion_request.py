"""POST /v1/completions: the request, and the call to the generator for each of its prompts."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from vermeil.generation.v1.generation_pb2 import TokenIds
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest

from vermeil_gateway.names import resource_name
from vermeil_gateway.openai.fields import GenerationFields, Neutral

DEFAULT_MAX_TOKENS = 16
"""What OpenAI's clients expect of completions."""

MAX_PROMPTS = 1024

_UNSUPPORTED_IN_COMPLETIONS: Mapping[str, Neutral] = {"suffix": (None, "")}
_EXAMPLE: dict[str, Any] = {"model": "vermeil-nano", "prompt": "Once upon a time", "max_tokens": 64}

_PROMPT_SCHEMA: JsonDict = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    ]
}

TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
Prompt = str | list[TokenId]


def _as_list(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, list) and value and _is_id(value[0])):
        return [value]
    if isinstance(value, list):
        return value
    raise ValueError("must be a text, a list of texts, the ids of a text, or a list of lists of ids")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class CompletionRequest(GenerationFields):
    """One text to continue, or several."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    prompts: Annotated[list[Prompt], BeforeValidator(_as_list)] = Field(
        alias="prompt", min_length=1, max_length=MAX_PROMPTS, json_schema_extra=_PROMPT_SCHEMA
    )
    """A text, a list of texts, the ids of a text, or a list of lists of ids."""
    echo: bool | None = False
    """Send the prompt back in front of the answer."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    """Return how likely each token was, with this many of the likeliest; of the prompt too with echo."""
    best_of: int | None = Field(default=None, ge=1, le=16)
    """Accepted where it equals n: choosing among more answers is not supported."""

    @classmethod
    def unsupported(cls) -> Mapping[str, Neutral]:
        return _UNSUPPORTED_IN_COMPLETIONS

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("best_of: is not supported unless it equals n")
        return self

    def to_generate(self, request_id: str) -> list[GenerateRequest]:
        """One call for each prompt, in order."""
        return [self._for_prompt(prompt, request_id) for prompt in self.prompts]

    def _for_prompt(self, prompt: Prompt, request_id: str) -> GenerateRequest:
        request = GenerateRequest(
            model=resource_name(self.model),
            sampling=self.sampling(default_max_tokens=DEFAULT_MAX_TOKENS),
            num_choices=self.n or 1,
            num_logprobs=self.logprobs,
            echo=bool(self.echo),
            request_id=request_id,
            output_format=self.output_format,
        )
        if isinstance(prompt, str):
            request.prompt = prompt
        else:
            request.tokens.CopyFrom(TokenIds(ids=prompt))
        return request
