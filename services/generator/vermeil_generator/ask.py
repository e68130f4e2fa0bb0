"""What a caller asks for, checked as far as that goes without a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vermeil_errors import InvalidInput

from vermeil_generator.output_format import OutputFormat, ToolCalls

DEFAULT_MAX_TOKENS = 256
MAX_CHOICES = 16
MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 16


@dataclass(frozen=True)
class GivenImage:
    """A picture in a turn."""

    name: str
    """How errors call it."""
    read: Callable[[], bytes]
    """Gives its file."""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    role: str
    """system, user or assistant."""
    parts: tuple[str | GivenImage, ...]
    """In order."""


@dataclass(frozen=True)
class Conversation:
    """Turns to continue, through the model's chat format."""

    turns: tuple[Turn, ...]
    """Oldest first; at least one."""

    def __post_init__(self) -> None:
        if not self.turns:
            raise InvalidInput("is empty", field="conversation.messages", fix="send at least one message")


@dataclass(frozen=True)
class PlainText:
    """A text to continue."""

    text: str


@dataclass(frozen=True)
class TokenIds:
    """A text that is encoded already."""

    ids: tuple[int, ...]
    """At least one."""

    def __post_init__(self) -> None:
        if not self.ids:
            raise InvalidInput("is empty", field="tokens.ids", fix="send at least one token")


Input = Conversation | PlainText | TokenIds


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen."""

    temperature: float = 1.0
    """0 takes the likeliest token; up to 2."""
    top_k: int = 0
    """Only the likeliest k; 0 for all."""
    top_p: float = 1.0
    """Only the likeliest tokens that together reach this probability."""
    min_p: float = 0.0
    """Only tokens at least this likely relative to the likeliest."""
    repetition_penalty: float = 1.0
    """Divides the logits of tokens already there."""
    frequency_penalty: float = 0.0
    """Taken from the logit of a token for each time the answer has it."""
    presence_penalty: float = 0.0
    """Taken once from the logit of a token that the answer has."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these token ids."""
    seed: int | None = None
    """The same seed gives the same answer; None draws one."""
    max_tokens: int | None = None
    """Tokens at most; None means 256."""
    stop: tuple[str, ...] = ()
    """End when one of these comes."""

    def __post_init__(self) -> None:
        _check("sampling.temperature", self.temperature, 0 <= self.temperature <= 2, "0 to 2")
        _check("sampling.top_k", self.top_k, self.top_k >= 0, "0 or more")
        _check("sampling.top_p", self.top_p, 0 < self.top_p <= 1, "above 0 to 1")
        _check("sampling.min_p", self.min_p, 0 <= self.min_p <= 1, "0 to 1")
        penalty = self.repetition_penalty
        _check("sampling.repetition_penalty", penalty, 0.5 <= penalty <= 2, "0.5 to 2")
        for name in ("frequency_penalty", "presence_penalty"):
            value = getattr(self, name)
            _check(f"sampling.{name}", value, -2 <= value <= 2, "-2 to 2")
        for token, bias in self.logit_bias.items():
            _check(f"sampling.logit_bias[{token}]", bias, -100 <= bias <= 100, "-100 to 100")
        if self.max_tokens is not None:
            _check("sampling.max_tokens", self.max_tokens, self.max_tokens >= 0, "0 or more")
        count = len(self.stop)
        _check("sampling.stop", count, count <= MAX_STOP_STRINGS, f"at most {MAX_STOP_STRINGS} strings")
        _check("sampling.stop", "", all(self.stop), "strings that are not empty")


@dataclass(frozen=True)
class Ask:
    """One request for answers."""

    model: str
    """A resource name, with or without a version."""
    input: Input
    """What to continue."""
    sampling: Sampling = field(default_factory=Sampling)
    """How tokens are chosen."""
    num_choices: int = 1
    """Answers wanted."""
    num_logprobs: int | None = None
    """Likeliest tokens told with each token; None tells no log-probabilities at all."""
    echo: bool = False
    """Whether the prompt comes back too."""
    output_format: OutputFormat | None = None
    """What each answer must look like; None leaves that open."""

    @property
    def may_call(self) -> bool:
        """Whether answers may be calls of tools."""
        return isinstance(self.output_format, ToolCalls)

    def __post_init__(self) -> None:
        _check("num_choices", self.num_choices, 1 <= self.num_choices <= MAX_CHOICES, f"1 to {MAX_CHOICES}")
        if self.num_logprobs is not None:
            holds = 0 <= self.num_logprobs <= MAX_LOGPROBS
            _check("num_logprobs", self.num_logprobs, holds, f"0 to {MAX_LOGPROBS}")


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InvalidInput.for_field(name, value, "is out of range", f"send {expected}")
