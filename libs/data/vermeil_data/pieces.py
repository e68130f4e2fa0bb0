"""Cutting a long text where no tokenizer of ours can notice.

A line feed before a Latin letter or digit always ends a pre-token (see tokenizer_training), so the
ids of the pieces are the ids of the whole; a test holds it to that.
"""

import re
from collections.abc import Iterator

PIECE_CHARACTERS = 32_768
_BORDER = re.compile(r"\n(?=[A-Za-z0-9])")


def pieces(text: str) -> Iterator[str]:
    """The text in order, in pieces of at least PIECE_CHARACTERS where there are borders."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        border = _BORDER.search(text, start + PIECE_CHARACTERS)
        if border is None:
            break
        yield text[start : border.end()]
        start = border.end()
    if start < len(text):
        yield text[start:]
