"""An ask made ready for one model: text as token ids, limits checked against its context."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_model import SamplingParameters

from vermeil_generator.ask import DEFAULT_MAX_TOKENS, Ask, Conversation, PlainText, TokenIds


@dataclass(frozen=True)
class Prompt:
    """What the model reads."""

    ids: tuple[int, ...]
    """Token ids, at least one."""
    num_hidden: int
    """Leading tokens that are ours and not the caller's: they are counted, but never told."""
    text: str
    """What echo sends back."""


@dataclass(frozen=True)
class Question:
    """What an engine works on."""

    prompt: Prompt
    parameters: SamplingParameters | None
    """How tokens are chosen; None where none is wanted."""
    stop: tuple[str, ...]
    num_choices: int
    num_logprobs: int | None
    echo: bool

    def parameters_of(self, choice: int) -> SamplingParameters:
        """Each choice draws from a seed of its own."""
        assert self.parameters is not None
        if self.parameters.seed is None or choice == 0:
            return self.parameters
        return replace(self.parameters, seed=self.parameters.seed + choice)


def prepare(ask: Ask, tokenizer: TextTokenizer, vocab_size: int, context_length: int) -> Question:
    """The question that an ask puts to a model.

    Raises:
        InvalidInput: It does not fit the model: too long, unknown ids, no chat format.
    """
    prompt, field = _prompt(ask, tokenizer)
    max_tokens = _max_tokens(ask, context_length)
    _check_ids("sampling.logit_bias", list(ask.sampling.logit_bias), vocab_size)
    longest = context_length - (1 if max_tokens else 0)
    if len(prompt.ids) > longest:
        raise InvalidInput.for_field(
            field,
            f"{len(prompt.ids)} tokens",
            f"do not fit into the model's context of {context_length} tokens",
            f"shorten it to {longest} tokens",
        )
    parameters = _parameters(ask, tokenizer, max_tokens) if max_tokens else None
    return Question(
        prompt=prompt,
        parameters=parameters,
        stop=ask.sampling.stop,
        num_choices=ask.num_choices,
        num_logprobs=ask.num_logprobs,
        echo=ask.echo,
    )


def _prompt(ask: Ask, tokenizer: TextTokenizer) -> tuple[Prompt, str]:
    """The prompt, and the field that an error about it names."""
    match ask.input:
        case PlainText(text):
            ids = tokenizer.encode(text, add_bos=True)
            return Prompt(tuple(ids), num_hidden=1, text=text), "prompt"
        case TokenIds(given):
            _check_ids("tokens.ids", given, tokenizer.vocab_size)
            return Prompt(given, num_hidden=0, text=tokenizer.decode(given)), "tokens.ids"
        case Conversation(turns):
            ids = tokenizer.apply_chat_template([asdict(turn) for turn in turns])
            return Prompt(tuple(ids), num_hidden=0, text=tokenizer.decode(ids)), "conversation"


def _max_tokens(ask: Ask, context_length: int) -> int:
    wanted = ask.sampling.max_tokens
    if wanted is None:
        return DEFAULT_MAX_TOKENS
    if wanted > context_length:
        raise InvalidInput.for_field(
            "sampling.max_tokens",
            wanted,
            f"is more than the model's context of {context_length} tokens",
            f"ask for at most {context_length}",
        )
    return wanted


def _parameters(ask: Ask, tokenizer: TextTokenizer, max_tokens: int) -> SamplingParameters:
    sampling = ask.sampling
    return SamplingParameters(
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        seed=sampling.seed,
        max_tokens=max_tokens,
        stop_ids=tokenizer.stop_ids,
        num_logprobs=ask.num_logprobs,
        repetition_penalty=sampling.repetition_penalty,
        logit_bias=dict(sampling.logit_bias),
    )


def _check_ids(field: str, ids: Sequence[int], vocab_size: int) -> None:
    for extreme in (min(ids, default=0), max(ids, default=0)):
        if not 0 <= extreme < vocab_size:
            raise InvalidInput.for_field(
                field, extreme, "is no token of this model", f"send 0 to {vocab_size - 1}"
            )
