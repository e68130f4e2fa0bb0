"""Text to token ids and back, by any tokenizer.json; ours come with special tokens and a chat format.

Text is always plain: a "<bos>" typed by somebody is five characters, never the special token. Long
texts are cut where that cannot change the ids, and encoded on all cores.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer
from vermeil_errors import DataCorrupted, InvalidInput, NotFound

from vermeil_data.chat import BOI, CHAT_TEMPLATE, CHAT_TOKENS, END, EOI, PICTURE_MARKS, ROLE_MARKS
from vermeil_data.detokenizer import Detokenizer, byte_table
from vermeil_data.pieces import pieces

TokenizerKind = Literal["bpe", "byte", "character", "other"]
"""`other` is a tokenizer that was brought along, such as that of an imported Llama."""

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
_BATCH_CHARACTERS = 1 << 20
_PARTS = ("normalizer", "pre_tokenizer", "model")
"""Of tokenizer.json: what ids a text has beside the vocabulary."""


class TextTokenizer:
    """A tokenizer with what a model needs beside it: special tokens, chat format, streaming."""

    def __init__(self, tokenizer: Tokenizer, kind: TokenizerKind, names: Mapping[str, str]) -> None:
        """`names` says which tokens are bos, eos and pad."""
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._names = dict(names)
        self.kind: TokenizerKind = kind
        self.vocab_size: int = tokenizer.get_vocab_size()
        self.bos_id = self._special("bos", "eos")
        self.eos_id = self._special("eos", "bos")
        self.pad_id = self._special("pad", "eos")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read tokenizer.json and tokenizer_config.json of a folder."""
        path, config = folder / TOKENIZER_FILE, folder / CONFIG_FILE
        if not path.is_file():
            raise NotFound(f"no tokenizer here: {TOKENIZER_FILE} is missing", field=str(folder))
        return cls.parse(path.read_bytes(), config.read_bytes() if config.is_file() else b"{}", str(path))

    @classmethod
    def parse(cls, tokenizer_json: bytes, config_json: bytes, name: str = TOKENIZER_FILE) -> Self:
        """From the content of both files; errors call them `name`."""
        try:
            tokenizer = Tokenizer.from_buffer(tokenizer_json)
            config = json.loads(config_json)
            names = {role: _token_name(config.get(f"{role}_token")) for role in ("bos", "eos", "pad")}
            kind: TokenizerKind = config.get("vermeil_tokenizer", "other")
        except Exception as error:  # tokenizers raises bare Exception
            raise DataCorrupted(f"is not a tokenizer: {error}", field=name) from error
        return cls(tokenizer, kind, {role: token for role, token in names.items() if token})

    def save(self, folder: Path) -> None:
        """Write both files, so that transformers' AutoTokenizer reads them too."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TOKENIZER_FILE).write_text(self._tokenizer.to_str(pretty=True), encoding="utf-8")
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "vermeil_tokenizer": self.kind,
            **{f"{role}_token": name for role, name in self._names.items()},
        }
        if self.has_chat_format:
            config["chat_template"] = CHAT_TEMPLATE
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")

    def encode(self, text: str, *, add_bos: bool = False) -> list[int]:
        """Ids of one text. A character that a character tokenizer lacks is refused by name."""
        (ids,) = self.encode_batch([text])
        return [self.bos_id, *ids.tolist()] if add_bos else ids.tolist()

    def encode_batch(
        self, texts: Sequence[str], check: Callable[[], None] | None = None
    ) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text, on all cores; `check` is called every megabyte, and may raise to stop."""
        found: list[list[npt.NDArray[np.uint32]]] = [[] for _ in texts]
        for batch in _batches(self._pieces(texts)):
            if check:
                check()
            encodings = self._tokenizer.encode_batch_fast(
                [piece for _, piece in batch], add_special_tokens=False
            )
            for (index, _), encoding in zip(batch, encodings, strict=True):
                found[index].append(np.array(encoding.ids, dtype=np.uint32))
        return [np.concatenate(parts) if parts else np.zeros(0, np.uint32) for parts in found]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of ids; bytes that make no whole character become U+FFFD."""
        return self._tokenizer.decode(self._checked(ids), skip_special_tokens=skip_special)

    def detokenizer(self) -> Detokenizer:
        """A new stream of ids to text."""
        return Detokenizer(self._tokenizer, self.token_bytes)

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True
    ) -> list[int]:
        """Ids of a conversation of {"role", "content"}, ready for the assistant's answer.

        Content is a text, or a list of texts and, for each picture, None: that becomes <boi><eoi>.
        """
        if not self.has_chat_format:
            raise InvalidInput("this tokenizer has no marks for chat", fix="send a plain prompt instead")
        ids = [self.bos_id]
        for index, message in enumerate(messages):
            mark = ROLE_MARKS.get(message["role"])
            if mark is None:
                fix = f"choose one of {', '.join(ROLE_MARKS)}"
                raise InvalidInput.for_field(f"messages[{index}].role", message["role"], "is unknown", fix)
            content = message["content"]
            parts = [content] if isinstance(content, str) else content
            inside = [self.picture_ids if part is None else self.encode(part) for part in parts]
            ids += [self._id(mark), *chain.from_iterable(inside), self._id(END)]
        return [*ids, self._id(ROLE_MARKS["assistant"])] if add_generation_prompt else ids

    @cached_property
    def has_chat_format(self) -> bool:
        """Whether the marks of who speaks are in the vocabulary."""
        return all(self.mark_id(token) is not None for token in CHAT_TOKENS)

    @property
    def boi_id(self) -> int | None:
        """The mark before a picture; None where a vocabulary that was brought along lacks it."""
        return self.mark_id(BOI)

    @property
    def eoi_id(self) -> int | None:
        """The mark after a picture."""
        return self.mark_id(EOI)

    @property
    def picture_ids(self) -> list[int]:
        """The marks around a picture; a vocabulary without them is refused."""
        return [self._id(mark) for mark in PICTURE_MARKS]

    def mark_id(self, mark: str) -> int | None:
        """The id of a special token of ours, such as <boa>; None where it is not in the vocabulary."""
        found: int | None = self._tokenizer.token_to_id(mark)
        return found

    def with_picture_marks(self) -> "TextTokenizer":
        """This tokenizer, or where it lacks <boi> and <eoi> one that has them behind its last entry."""
        if None not in (self.boi_id, self.eoi_id):
            return self
        grown = Tokenizer.from_str(self._tokenizer.to_str())
        grown.add_special_tokens([AddedToken(mark, special=True) for mark in PICTURE_MARKS])
        return TextTokenizer(grown, self.kind, self._names)

    def difference(self, other: "TextTokenizer") -> str | None:
        """How another one reads text in other ids, if it does; it may have more entries behind the last."""
        for token, index in sorted(self._tokenizer.get_vocab().items(), key=lambda entry: entry[1]):
            found = other._tokenizer.id_to_token(index)
            if found != token:
                return f"entry {index} is {token!r} in one and {found!r} in the other"
        mine, theirs = (json.loads(each._tokenizer.to_str()) for each in (self, other))
        parts = [part for part in _PARTS if mine.get(part) != theirs.get(part)]
        return f"they differ in {' and '.join(parts)}" if parts else None

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids after which nothing more belongs to an answer: the end of a turn or of a document."""
        end = self.mark_id(END)
        return frozenset({self.bos_id, self.eos_id} | ({end} if end is not None else set()))

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text."""
        decoder = self._tokenizer.get_added_tokens_decoder()
        return frozenset(index for index, token in decoder.items() if token.special)

    @cached_property
    def token_bytes(self) -> list[bytes] | None:
        """The bytes of every id, special tokens empty; None where tokens are no plain strings of bytes."""
        return byte_table(self._tokenizer)

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """The characters a character tokenizer knows."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        return frozenset(vocabulary) if self.kind == "character" else frozenset()

    def _pieces(self, texts: Sequence[str]) -> Iterator[tuple[int, str]]:
        for index, text in enumerate(texts):
            self._check(text)
            for piece in pieces(text) if self.kind != "other" else [text]:
                yield index, piece

    def _check(self, text: str) -> None:
        if self.kind == "character" and (unknown := set(text) - self.alphabet):
            at = min(text.index(character) for character in unknown)
            raise InvalidInput(
                f"character {text[at]!r} at {at:,} is not among the {len(self.alphabet)} of this tokenizer",
                fix="leave it out, or use a model with a byte-level tokenizer",
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"the text has a lone surrogate at {error.start:,}") from error

    def _checked(self, ids: Sequence[int]) -> list[int]:
        for extreme in (min(ids, default=0), max(ids, default=0)):
            if not 0 <= extreme < self.vocab_size:
                raise InvalidInput.for_field("token id", extreme, f"must be 0 to {self.vocab_size - 1}")
        return list(ids)

    def _special(self, role: str, other: str) -> int:
        name = self._names.get(role) or self._names.get(other)
        if name is None:
            raise InvalidInput(f"the tokenizer names no {role} token", fix=f"name one in {CONFIG_FILE}")
        return self._id(name)

    def _id(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise InvalidInput.for_field("token", token, "is not in the vocabulary")
        return token_id


def _token_name(value: object) -> str | None:
    """transformers writes a token as a string or as an object with `content`."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _batches(items: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Enough text at a time to keep every core busy, and no more."""
    batch: list[tuple[int, str]] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item[1])
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
