"""Service: what a wiring hands to the server, one for each gRPC service it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Hook = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Service:
    """A gRPC service, the object that answers for it, and its life."""

    name: str
    """Full name from the contract, such as "vermeil.job.v1.JobService"."""
    add_to_server: Callable[[Any, Any], None]
    """The generated add_…Servicer_to_server."""
    servicer: object
    """Answers the calls; its methods are `async def` and raise errors of vermeil_errors."""
    ready: Callable[[], Awaitable[bool]] | None = None
    """Asked every second; False, an exception or no answer in time makes its health NOT_SERVING."""
    start: Hook | None = None
    """Awaited before the first call is taken."""
    drain: Hook | None = None
    """Awaited as soon as the server is told to stop; ends streams that would go on for ever."""
    stop: Hook | None = None
    """Awaited after the last call has ended."""
