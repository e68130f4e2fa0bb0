"""Pages of lists: sizes are checked, tokens are opaque and stable while rows come and go."""

import base64
import json

from vermeil_errors import InvalidInput

MAX_PAGE_SIZE = 1000
_MAX_NUMBER = 2**63 - 1


def check_page_size(page_size: int) -> int:
    """Refuse sizes out of range."""
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidInput.for_field(
            "page_size", page_size, "is out of range", f"use 1 to {MAX_PAGE_SIZE}, or 0 for the default"
        )
    return page_size


def make_token(scope: str, position: str | int) -> str:
    """A token that asks for what comes after `position` of the list `scope`."""
    raw = json.dumps([scope, position], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_number(token: str, scope: str) -> int | None:
    """The position in a token of a list ordered by number; None for the first page."""
    position = _read(token, scope)
    if position is None:
        return None
    if type(position) is not int or not 0 <= position <= _MAX_NUMBER:
        raise _foreign(token)
    return position


def read_text(token: str, scope: str) -> str | None:
    """The position in a token of a list ordered by name; None for the first page."""
    position = _read(token, scope)
    if position is not None and not isinstance(position, str):
        raise _foreign(token)
    return position


def _read(token: str, scope: str) -> object:
    if not token:
        return None
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, RecursionError) as error:
        raise _foreign(token) from error
    if not (isinstance(content, list) and len(content) == 2 and content[0] == scope):
        raise _foreign(token)
    return content[1]


def _foreign(token: str) -> InvalidInput:
    return InvalidInput.for_field(
        "page_token",
        token,
        "does not belong to this list",
        "send next_page_token of the page before, with the same filters",
    )
