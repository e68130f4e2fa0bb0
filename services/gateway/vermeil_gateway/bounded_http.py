"""uvicorn's quicker HTTP parser with the bounds it lacks: on a request's head, and on waiting for a reader.

`guard.py` bounds bodies; this closes a connection whose first line and headers never end, or whose client
takes nothing of its answer. Such a client leaves like any other: `disconnect.py` ends what was done for it.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from vermeil_telemetry import counter

MAX_HEAD_BYTES = 64 * 2**10
HEAD_SECONDS = 30.0
READER_SECONDS = 60.0
"""nginx's `send_timeout`: between two pieces that the client takes, not for the whole answer."""

_unread = counter("gateway_answers_unread", "Answers broken off because their clients took nothing of them")


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _is_in_head = False
    _num_head_bytes = 0
    _waiting: asyncio.TimerHandle | None = None
    _looking: asyncio.TimerHandle | None = None
    _answered: RequestResponseCycle | None = None
    """Of several requests sent at once, the one that is being answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_looking()
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True  # uvicorn says so to the last request that came
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._num_head_bytes += len(data)
            if self._num_head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"The head of the request is over {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._is_in_head, self._num_head_bytes = True, 0
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._waiting = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_again()

    def _look_again(self) -> None:
        self._stop_looking()
        left = self.transport.get_write_buffer_size()
        self._looking = asyncio.get_running_loop().call_later(READER_SECONDS, self._look, left)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def _look(self, before: int) -> None:
        """Nothing is written while writing is paused, so that what is left gets less if the client reads."""
        if not (self.flow.write_paused or self.transport.is_closing()):
            return
        if self.transport.get_write_buffer_size() < before:
            self._look_again()
            return
        _unread.inc()
        if self._answered is not None:
            self._answered.scope["state"]["unread"] = True
        self.transport.abort()
