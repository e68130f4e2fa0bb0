"""Cutting a long text where no tokenizer of ours can notice.

A line feed before a Latin letter or digit always ends a pre-token (see tokenizer_training), so the
ids of the pieces are the ids of the whole; a test holds it to that.
"""

import re
from collections.abc import Iterator

PIECE_CHARACTERS = 32_768
_BORDER = re.compile(r"\n(?=[A-Za-z0-9])")


def pieces(text: str, size: int = PIECE_CHARACTERS) -> Iterator[str]:
    """The text in order, each piece cut at the first border after `size` characters."""
    start = 0
    while len(text) - start > size:
        border = _BORDER.search(text, start + size)
        if border is None:
            break
        yield text[start : border.end()]
        start = border.end()
    if start < len(text):
        yield text[start:]
