"""How much is under way: so many requests, and so many bytes of their bodies, and no more.

What is over is refused at once, with a time to come again, so that a flood costs its senders and not
those who were let in. Requests for which a model computes and all others are counted apart, so that whoever
looks after a job is not refused because of those who chat. When the gateway stops it lets nobody in and waits
for those inside.
"""

import asyncio
from types import TracebackType
from typing import Self

from vermeil_errors import Overloaded, Unavailable
from vermeil_telemetry import counter, gauge

_under_way = gauge("gateway_requests_under_way", "Requests that are being answered")
_held = gauge("gateway_body_bytes_held", "Bytes of the bodies of requests that are being answered")
_shed = counter("gateway_requests_shed", "Requests refused because too much was under way", ["why"])


class Admission:
    """Counts who is inside."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._num_requests = {True: 0, False: 0}
        self._num_bytes = 0
        self._is_closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self, *, computes: bool) -> "Ticket":
        """Let a request in, one for which a model computes or another; use the ticket as a context.

        Raises:
            Overloaded: Too many of its kind are inside.
            Unavailable: The gateway is about to stop.
        """
        if self._is_closed:
            _shed.labels("stopping").inc()
            raise Unavailable("this gateway is about to stop", fix="send the request again")
        if self._num_requests[computes] >= self._max_requests:
            _shed.labels("requests").inc()
            kind = "requests to models" if computes else "requests beside those to models"
            raise Overloaded(
                f"{self._max_requests} {kind} are under way, as many as this gateway takes",
                fix="send the request again",
            )
        return Ticket(self, computes)

    def close(self) -> None:
        """Let nobody in any more."""
        self._is_closed = True

    async def emptied(self, seconds: float) -> bool:
        """Whether everybody left within this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def change(self, computes: bool, requests: int, num_bytes: int) -> None:
        """Count what a ticket says."""
        if num_bytes > 0 and self._num_bytes + num_bytes > self._max_bytes:
            _shed.labels("bytes").inc()
            raise Overloaded(
                f"bodies of requests under way are all that this gateway holds, {self._max_bytes:,} bytes",
                fix="send the request again",
            )
        self._num_requests[computes] += requests
        self._num_bytes += num_bytes
        inside = sum(self._num_requests.values())
        _under_way.set(inside)
        _held.set(self._num_bytes)
        if inside:
            self._empty.clear()
        else:
            self._empty.set()


class Ticket:
    """One request inside, with what it holds."""

    def __init__(self, admission: Admission, computes: bool) -> None:
        self._admission = admission
        self._computes = computes
        self._num_bytes = 0

    def hold(self, num_bytes: int) -> None:
        """Hold so many bytes in all, if that is more than before.

        Raises:
            Overloaded: All requests together would hold too many.
        """
        more = num_bytes - self._num_bytes
        if more > 0:
            self._admission.change(self._computes, 0, more)
            self._num_bytes = num_bytes

    def __enter__(self) -> Self:
        self._admission.change(self._computes, 1, 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.change(self._computes, -1, -self._num_bytes)
