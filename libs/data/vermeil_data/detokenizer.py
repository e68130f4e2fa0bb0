"""Token ids to text as they come, never half a character.

Byte-level and character tokenizers go through a table of bytes; others through the stream decoder
of `tokenizers`.
"""

import codecs
import json
from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Detokenizer:
    """One stream. The text of all `add` and the final `finish` is the text of `decode`."""

    def __init__(self, tokenizer: Tokenizer, table: Sequence[bytes] | None) -> None:
        """`table` as made by `byte_table`."""
        self._tokenizer = tokenizer
        self._table = table
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._stream = DecodeStream(skip_special_tokens=True)
        self._held: list[int] = []
        """Ids since the last that completed a text."""

    def add(self, token_id: int) -> str:
        """The text that this id completes; often empty."""
        if self._table is not None:
            return self._bytes.decode(self._table[token_id])
        try:
            text = self._stream.step(self._tokenizer, token_id)
        except Exception:  # of tokenizers, bare: bytes that are no text changed how those before them read
            self._stream = DecodeStream(self._held, skip_special_tokens=True)
            text = self._stream.step(self._tokenizer, token_id)
        self._held = [] if text else [*self._held, token_id]
        return text or ""

    def finish(self) -> str:
        """What is left at the end: U+FFFD if the last character is not whole."""
        held, self._held = self._held, []
        return self._bytes.decode(b"", final=True) + self._tokenizer.decode(held)


def byte_table(tokenizer: Tokenizer) -> list[bytes] | None:
    """The bytes of every id, special tokens empty; None where tokens are no plain strings of bytes."""
    decoder = (json.loads(tokenizer.to_str())["decoder"] or {}).get("type")
    if decoder not in ("ByteLevel", "Fuse"):
        return None
    added = tokenizer.get_added_tokens_decoder()
    table = [b""] * tokenizer.get_vocab_size()
    for token, index in tokenizer.get_vocab().items():
        if index in added:
            table[index] = b"" if added[index].special else token.encode()
        else:
            table[index] = (
                bytes(BYTE_OF[char] for char in token) if decoder == "ByteLevel" else token.encode()
            )
    return table


def _byte_of() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for letters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(0x100 + index): byte for index, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


BYTE_OF = _byte_of()
"""The byte that each character of a byte-level vocabulary stands for."""
