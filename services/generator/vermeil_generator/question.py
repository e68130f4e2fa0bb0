"""An ask made ready for one model: text as token ids, limits checked against its context."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_model import PackedAdapter, SamplingParameters

from vermeil_generator.ask import DEFAULT_MAX_TOKENS, Ask, Conversation, PlainText, TokenIds
from vermeil_generator.grammar import Grammar, Grammars
from vermeil_generator.picture_reader import PictureReader
from vermeil_generator.spoken import Spoken, spoken


@dataclass(frozen=True)
class Prompt:
    """What the model reads."""

    ids: tuple[int, ...]
    """Token ids, at least one."""
    num_hidden: int
    """Leading tokens that are ours and not the caller's: they are counted, but never told."""
    text: str
    """What echo sends back."""
    pictures: tuple[Tensor, ...] = ()
    """One for each <boi>, uint8 (C, H, W)."""
    patches_each: int = 0
    """Of a picture, given or drawn."""

    @property
    def num_tokens(self) -> int:
        """Tokens and patches."""
        return len(self.ids) + self.patches_each * len(self.pictures)


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
    grammar: Grammar | None = None
    """What each answer is held to."""
    adapter: PackedAdapter | None = None
    """What the model is changed by."""

    def parameters_of(self, choice: int) -> SamplingParameters:
        """Each choice draws from a seed of its own."""
        assert self.parameters is not None
        if self.parameters.seed is None or choice == 0:
            return self.parameters
        return replace(self.parameters, seed=self.parameters.seed + choice)


def prepare(
    ask: Ask,
    tokenizer: TextTokenizer,
    vocab_size: int,
    context_length: int,
    grammars: Grammars,
    pictures: PictureReader | None = None,
) -> Question:
    """The question that an ask puts to a model; `pictures` if it reads and draws them too.

    Raises:
        InvalidInput: It does not fit the model: too long, unknown ids, no chat format, pictures, a format
            that cannot be met.
    """
    said = _spoken(ask, tokenizer, pictures)
    max_tokens = _max_tokens(ask, context_length)
    _check_ids("sampling.logit_bias", list(ask.sampling.logit_bias), vocab_size)
    if said.images and ask.echo and ask.num_logprobs is not None:
        raise InvalidInput.for_field(
            "num_logprobs", ask.num_logprobs, "are not told of pictures that come back", "leave out echo"
        )
    _check_length(said, pictures, context_length, longest=context_length - (1 if max_tokens else 0))
    return Question(
        prompt=_read(said, tokenizer, pictures),
        parameters=_parameters(ask, tokenizer, max_tokens) if max_tokens else None,
        stop=ask.sampling.stop,
        num_choices=ask.num_choices,
        num_logprobs=ask.num_logprobs,
        echo=ask.echo,
        grammar=grammars.compile(ask.output_format) if ask.output_format else None,
    )


def _spoken(ask: Ask, tokenizer: TextTokenizer, pictures: PictureReader | None) -> Spoken:
    match ask.input:
        case PlainText(text):
            return Spoken(tokenizer.encode(text, add_bos=True), "prompt", num_hidden=1, text=text)
        case TokenIds(given):
            _check_ids("tokens.ids", given, tokenizer.vocab_size)
            if pictures is not None and tokenizer.boi_id in given:
                raise InvalidInput.for_field(
                    "tokens.ids", tokenizer.boi_id, "announces a picture", "send a conversation that has it"
                )
            return Spoken(list(given), "tokens.ids")
        case Conversation(turns):
            return spoken(turns, tokenizer, pictures)


def _check_length(said: Spoken, pictures: PictureReader | None, context_length: int, longest: int) -> None:
    needed, stride = len(said.ids), pictures.stride if pictures else 0
    value = f"{needed} tokens"
    if said.images:
        needed += stride * len(said.images)
        value = f"{needed} tokens (each of {len(said.images)} pictures takes {stride})"
    if needed > longest:
        raise InvalidInput.for_field(
            said.field,
            value,
            f"do not fit into the model's context of {context_length} tokens",
            f"shorten it to {longest} tokens",
        )


def _read(said: Spoken, tokenizer: TextTokenizer, pictures: PictureReader | None) -> Prompt:
    """The prompt, with its pictures in the model's form."""
    text = tokenizer.decode(said.ids) if said.text is None else said.text
    if pictures is None:
        return Prompt(tuple(said.ids), said.num_hidden, text)
    shown = tuple(pictures.read(image) for image in said.images)
    return Prompt(tuple(said.ids), said.num_hidden, text, shown, pictures.patches_each)


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
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        logit_bias=dict(sampling.logit_bias),
    )


def _check_ids(field: str, ids: Sequence[int], vocab_size: int) -> None:
    for extreme in (min(ids, default=0), max(ids, default=0)):
        if not 0 <= extreme < vocab_size:
            raise InvalidInput.for_field(
                field, extreme, "is no token of this model", f"send 0 to {vocab_size - 1}"
            )
