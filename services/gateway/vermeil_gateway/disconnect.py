"""Work that ends when the client goes away: nobody should compute an answer that nobody reads.

ASGI says so with an `http.disconnect` message, which someone must wait for while the work runs.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from vermeil_errors import Cancelled, Unavailable, VermeilError

from vermeil_gateway.problems import known, problem

Result = TypeVar("Result")

KEEP_ALIVE_SECONDS = 15.0
"""An idle stream says something this often, so that proxies keep it open."""


async def until_disconnect(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`, which is cancelled at once when the client goes away."""
    with _ending_with_client(request.app.state.under_way, request.receive):
        return await work


class EventStream(Response):
    """Server-sent events, which end as soon as the client goes away.

    Args:
        events: What to send.
        close: Called in every case at the end, also where no event was ever sent.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes, None], close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._events = events
        self._close = close
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(Cancelled), _ending_with_client(scope["app"].state.under_way, receive):
                await self._send_all(send)
        except Unavailable as error:  # the gateway stops
            last = event(problem(error))
            await send({"type": "http.response.body", "body": last, "more_body": False})
        finally:
            if self._close:
                await self._close()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(_told(self._events)) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event(data: object, name: str = "") -> bytes:
    """One server-sent event with JSON data."""
    head = f"event: {name}\n".encode() if name else b""
    return b"%sdata: %s\n\n" % (
        head,
        json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(),
    )


DONE = b"data: [DONE]\n\n"
"""How OpenAI's streams end."""


async def kept_alive(
    events: AsyncIterator[bytes], stopping: asyncio.Event, seconds: float = KEEP_ALIVE_SECONDS
) -> AsyncGenerator[bytes, None]:
    """The same events, with a comment whenever none came for a while; ends when the process stops."""
    stop = asyncio.ensure_future(stopping.wait())
    following = asyncio.ensure_future(_next(events))
    try:
        while True:
            await asyncio.wait({following, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                return
            if not following.done():
                yield b": still here\n\n"
                continue
            if (item := following.result()) is None:
                return
            following = asyncio.ensure_future(_next(events))
            yield item
    finally:
        await _stopped(following)
        await _stopped(stop)


async def _told(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """An error after the first byte cannot change the status any more: it becomes the last event."""
    async with aclosing(events):
        try:
            async for item in events:
                yield item
        except Exception as error:  # the edge of the process
            yield event(problem(known(error)))


async def _next(events: AsyncIterator[bytes]) -> bytes | None:
    return await anext(events, None)


class UnderWay:
    """Answers that are being computed, so that all can be ended when the gateway stops."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self._broken_off = False

    def break_off(self) -> None:
        """End them: their clients are told to send the request again."""
        self._broken_off = True
        for task in self.tasks:
            task.cancel()

    def why_ended(self, client_left: bool) -> VermeilError | None:
        """What ended a block that was cancelled; None for somebody else."""
        if client_left:
            return Cancelled("the client went away")
        if self._broken_off:
            return Unavailable("this gateway stops", fix="send the request again")
        return None


@contextmanager
def _ending_with_client(under_way: UnderWay, receive: Receive) -> Iterator[None]:
    """Cancels the block when the client leaves and raises Cancelled, or Unavailable when the gateway stops.

    The block runs in the task at hand: two tasks and their hand-overs would cost 30 µs a request.
    """
    task = asyncio.current_task()
    assert task is not None
    watch = asyncio.ensure_future(_client_left(receive))

    def stop(_: object) -> None:
        task.cancel()

    watch.add_done_callback(stop)
    under_way.tasks.add(task)
    try:
        yield
    except asyncio.CancelledError:
        why = under_way.why_ended(watch.done())
        if why is None:
            raise
        task.uncancel()
        raise why from None
    finally:
        under_way.tasks.discard(task)
        watch.remove_done_callback(stop)
        watch.cancel()


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stopped(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
