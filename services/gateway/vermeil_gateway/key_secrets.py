"""How keys of the registry are written: `vermeil_`, the public id by which a key is found, its secret.

The registry keeps SHA-256 of the whole text: of 256 random bits that needs no slower hash.
"""

import hashlib
import re
import secrets
from typing import NamedTuple, Self

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 16
_SECRET_BYTES = 32
_TEXT = re.compile(r"vermeil_(?P<id>[a-z0-9]{16})_[\w-]{43}", re.ASCII)


class Secret(NamedTuple):
    """What the registry may know of a key's text."""

    name: str
    """ "keys/{key}"."""
    digest: bytes
    """SHA-256 of the text."""

    @classmethod
    def of(cls, text: str) -> Self | None:
        """None for what no key of the registry looks like."""
        found = _TEXT.fullmatch(text)
        return cls(f"keys/{found['id']}", hashlib.sha256(text.encode()).digest()) if found else None


def draw() -> str:
    """The text of a new key."""
    id_ = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    return f"vermeil_{id_}_{secrets.token_urlsafe(_SECRET_BYTES)}"
