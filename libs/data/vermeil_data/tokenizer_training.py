"""Making tokenizers: byte-level BPE, single bytes, single characters. The same texts give the same file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from vermeil_errors import InvalidInput

from vermeil_data.chat import BOS, EOS, PAD, SPECIAL_TOKENS
from vermeil_data.detokenizer import BYTE_OF
from vermeil_data.tokenizer import TextTokenizer

DEFAULT_VOCAB_SIZE = 4096
MIN_VOCAB_SIZE = 300
MAX_VOCAB_SIZE = 1_000_000

# GPT-4's pattern with numbers in ones and twos, which a small vocabulary affords better than threes.
# No match ever continues over a line feed that stands before a letter or digit: pieces.py relies on it.
_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class TokenizerSpec:
    """Which tokenizer to make."""

    kind: Literal["bpe", "byte", "character"] = "bpe"
    vocab_size: int | None = None
    """Entries with special tokens, 300 to 1,000,000; for bpe only; None means 4,096."""

    def __post_init__(self) -> None:
        if self.kind not in ("bpe", "byte", "character"):
            raise InvalidInput.for_field(
                "tokenizer.kind", self.kind, "is unknown", "choose bpe, byte or character"
            )
        if self.vocab_size is None:
            return
        if self.kind != "bpe":
            raise InvalidInput.for_field(
                "tokenizer.vocab_size",
                self.vocab_size,
                f"cannot be chosen for kind {self.kind}",
                "leave it out",
            )
        if not MIN_VOCAB_SIZE <= self.vocab_size <= MAX_VOCAB_SIZE:
            raise InvalidInput.for_field(
                "tokenizer.vocab_size",
                self.vocab_size,
                "is out of range",
                f"choose {MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE}",
            )


def train_tokenizer(texts: Iterable[str], spec: TokenizerSpec) -> TextTokenizer:
    """Make a tokenizer for these texts; BPE of little text may have fewer entries than asked for."""
    if spec.kind == "bpe":
        tokenizer = _byte_pairs(texts, (spec.vocab_size or DEFAULT_VOCAB_SIZE) - len(SPECIAL_TOKENS))
    elif spec.kind == "byte":
        tokenizer = Tokenizer(models.BPE(vocab=dict(BYTE_OF), merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer = _characters(texts)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    bos = (BOS, tokenizer.token_to_id(BOS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[bos]
    )
    return TextTokenizer(tokenizer, spec.kind, {"bos": BOS, "eos": EOS, "pad": PAD})


def _byte_pairs(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _characters(texts: Iterable[str]) -> Tokenizer:
    alphabet: set[str] = set()
    for text in texts:
        alphabet.update(text)
    if not alphabet:
        raise InvalidInput("a character tokenizer needs some text to learn its characters from")
    vocabulary = {character: index for index, character in enumerate(sorted(alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
