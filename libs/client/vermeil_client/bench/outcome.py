"""What became of one request."""

from array import array
from dataclasses import dataclass, field
from enum import StrEnum


class End(StrEnum):
    """How a request ended; LOST and WRONG are what a server must never do."""

    COMPLETED = "completed"
    """Answered once and whole."""
    SHED = "shed"
    """Told to come again, 429 or 503 with Retry-After, before anything was said."""
    BROKEN_OFF = "broken off"
    """The answer had begun; an error said that it ends."""
    UNREACHABLE = "unreachable"
    """No connection, or it was cut before an answer began."""
    REFUSED = "refused"
    """Another 4xx: the request is wrong."""
    FAILED = "failed"
    """Another 5xx, or 429 and 503 that do not say when to come again."""
    TIMED_OUT = "timed out"
    """Not ended within the time this client gives."""
    LOST = "lost"
    """The answer had begun and ended without a word, or it was cut."""
    WRONG = "wrong"
    """An answer that contradicts itself: twice, somebody else's, or not what it says it is."""


@dataclass(slots=True)
class Outcome:
    """One request and what came back. Times are in seconds since the load began."""

    id: str
    """Sent as x-request-id."""
    kind: str
    """Of the mixture."""
    scheduled: float
    """When it was due."""
    sent: float
    first: float | None = None
    """When its first token came."""
    ended: float = 0.0
    gaps: "array[float]" = field(default_factory=lambda: array("f"))
    """Seconds between two pieces that carry text."""
    end: End = End.LOST
    code: str = ""
    """What the server calls its error, or its status, or this client's word for it."""
    problem: str = ""
    """In a sentence, where it did not complete."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    """Of pictures that are drawn, their patches."""

    @property
    def ttft(self) -> float | None:
        """Time to first token."""
        return None if self.first is None else self.first - self.sent

    @property
    def e2el(self) -> float:
        """End-to-end latency."""
        return self.ended - self.sent

    @property
    def tpot(self) -> float | None:
        """Time per output token after the first; None where there is no second."""
        if self.first is None or self.output_tokens < 2:
            return None
        return (self.ended - self.first) / (self.output_tokens - 1)
