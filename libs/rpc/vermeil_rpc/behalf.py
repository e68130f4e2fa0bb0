"""On whose behalf a call is made: the owner of what it begins, carried from call to call like the trace.

Said by the gateway, which knows its callers; services believe each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

OWNER = "vermeil-owner"
"""Header that names the owner, "owners/{owner}"."""

_current: ContextVar[str] = ContextVar("vermeil_owner", default="")


def current_owner() -> str:
    """The owner on whose behalf this runs; empty where nobody said."""
    return _current.get()


def begin_on_behalf_of(owner: str | None) -> None:
    """Make the current task run on behalf of `owner`, to its end; for servers with a task a request."""
    _current.set(owner or "")


@contextmanager
def on_behalf_of(owner: str) -> Iterator[None]:
    """Run what is inside on behalf of `owner`, also awaited calls and `asyncio.to_thread`."""
    token = _current.set(owner)
    try:
        yield
    finally:
        _current.reset(token)
