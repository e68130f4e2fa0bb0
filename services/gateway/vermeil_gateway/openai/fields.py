"""What chat and completions requests have in common, and how they become `Sampling`.

A field of OpenAI's or vLLM's that would change the answer and that we do not have is refused, unless its
value is the one that changes nothing; fields that only label a request are accepted and have no effect.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from vermeil.generation.v1.generation_pb2 import OutputFormat, Sampling
from vermeil_errors import InvalidInput

from vermeil_gateway.openai.response_format import ResponseFormat, StructuredOutputs

Neutral = tuple[object, ...]

_MAX_DIGITS = 10
"""Of the id of a token; Python reads no number of more than 4,300."""

LABELS = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    }
)
"""Fields of OpenAI's that label or bill a request; they never change the answer."""

_UNSUPPORTED_OF_VLLM: Mapping[str, Neutral] = {
    "add_generation_prompt": (None, True),
    "ignore_eos": (None, False),
    "include_stop_str_in_output": (None, False),
    "length_penalty": (None, 1),
    "min_tokens": (None, 0),
    "priority": (None, 0),
    "prompt_logprobs": (None,),
    "skip_special_tokens": (None, True),
    "spaces_between_special_tokens": (None, True),
    "stop_token_ids": (None, []),
    "truncate_prompt_tokens": (None,),
    "use_beam_search": (None, False),
}
"""Its clients send all of them with the values that change nothing."""


class StreamOptions(BaseModel):
    """How a stream is told."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    include_usage: bool | None = False
    """Send one more chunk with the token counts before `[DONE]`."""
    include_obfuscation: bool | None = False
    """Accepted; there is never padding here."""


def _as_list(value: object) -> object:
    if value is None or isinstance(value, list):
        return value
    if isinstance(value, str):
        return [value]
    raise ValueError("must be a string or a list of strings")


Stop = Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]] | None, BeforeValidator(_as_list)]
_STOP_SCHEMA: JsonDict = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class GenerationFields(BaseModel):
    """Fields of every request for an answer."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    model: str = Field(min_length=1, max_length=256, examples=["vermeil-nano", "vermeil-nano@3"])
    """A model of GET /v1/models, or one version of it."""
    max_tokens: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """Tokens at most."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 takes the likeliest token; default 1."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Only the likeliest tokens that together reach this probability; default 1."""
    top_k: int | None = Field(default=None, ge=-1, le=2**31 - 1)
    """Only the likeliest k; 0 for all, or -1. Not one of OpenAI's."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Only tokens at least this likely relative to the likeliest. Not one of OpenAI's."""
    repetition_penalty: float | None = Field(default=None, ge=0.5, le=2)
    """Divides the logits of tokens already there; default 1. Not one of OpenAI's."""
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Taken from the logit of a token for each time the answer has it; default 0."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Taken once from the logit of a token that the answer has; default 0."""
    n: int | None = Field(default=None, ge=1, le=16)
    """Answers wanted to each prompt; default 1."""
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    """The same seed gives the same answer."""
    stop: Stop = Field(default=None, max_length=16, json_schema_extra=_STOP_SCHEMA)
    """End when one of these strings comes; at most 16."""
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    """Added to the logits of these token ids, -100 to 100 each."""
    stream: bool | None = False
    """Send the answer piece by piece as server-sent events."""
    stream_options: StreamOptions | None = None
    """How the stream is told."""
    response_format: ResponseFormat | None = None
    """JSON, of a schema or any object, or text as it comes."""
    structured_outputs: StructuredOutputs | None = None
    """Other forms of answers. Not one of OpenAI's, but vLLM's."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        return supported(body, {**_UNSUPPORTED_OF_VLLM, **cls.unsupported()})

    @classmethod
    def unsupported(cls) -> Mapping[str, Neutral]:
        """OpenAI's fields that this request does not have."""
        return {}

    @model_validator(mode="after")
    def _stream_options_need_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream = true")
        return self

    @model_validator(mode="after")
    def _one_form_at_most(self) -> Self:
        if self.structured_outputs and self.response_format and self.response_format.type != "text":
            raise ValueError("structured_outputs: not together with response_format; set one of them")
        return self

    @property
    def output_format(self) -> OutputFormat | None:
        """What each answer must look like, as the contract says it."""
        if self.structured_outputs is not None:
            return OutputFormat(regex=self.structured_outputs.regex)
        return self.response_format.to_output() if self.response_format is not None else None

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, *, default_max_tokens: int | None = None) -> Sampling:
        """How tokens are chosen, as the contract says it."""
        max_tokens = self.max_tokens if self.max_tokens is not None else default_max_tokens
        return Sampling(
            temperature=self.temperature,
            top_k=None if self.top_k is None else max(0, self.top_k),
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias={_token_id(token): bias for token, bias in (self.logit_bias or {}).items()},
            seed=self.seed,
            max_tokens=max_tokens,
            stop=self.stop or (),
        )


def supported(body: Mapping[str, Any], unsupported: Mapping[str, Neutral], path: str = "") -> dict[str, Any]:
    """The body without labels and without neutral values of fields that we do not have.

    Raises:
        InvalidInput: Such a field asks for something.
    """
    for name in unsupported.keys() & body.keys():
        if not _is_neutral(body[name], unsupported[name]):
            raise InvalidInput.for_field(f"{path}{name}", body[name], "is not supported", "leave it out")
    dropped = LABELS | unsupported.keys()
    return {name: value for name, value in body.items() if name not in dropped}


def _is_neutral(value: object, neutral: Neutral) -> bool:
    """`False == 0` in Python, but not in JSON."""
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in neutral)


def _token_id(text: str) -> int:
    if not text.isdecimal() or len(text) > _MAX_DIGITS or int(text) >= 2**31:
        raise InvalidInput.for_field("logit_bias", text, "is not a token id", "write ids as decimal strings")
    return int(text)
