"""A door between two processes that can be shut, cut, muted or made slow; knows nothing of what passes.

All doors share one thread. A connection that was muted stays mute for good, as after a firewall forgot it:
neither side hears of the other again, not even that it has gone.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any

_CHUNK = 16 * 2**10
_RESET_AFTER = 300
"""Bytes of an answer that pass before a cut: in the middle of most."""
_SLOW_SECONDS = 0.2
_SLOW_RATE = 50 * 2**10
"""Bytes a second."""


class Mode(StrEnum):
    """What a door does."""

    OPEN = "open"
    REFUSE = "refuse"
    """Nobody listens; who was connected is cut off."""
    RESET = "reset"
    """Every connection is cut in the middle of an answer."""
    MUTE = "mute"
    """Takes connections and bytes; nothing comes out."""
    SLOW = "slow"
    """Every piece waits, and few bytes pass in a second."""


class Wires:
    """The thread in which all doors work."""

    def __init__(self) -> None:
        self.doors: list[Proxy] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it there, and wait."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def close(self) -> None:
        """Shut every door, wait until nobody is in one any more, and end the thread."""
        for door in self.doors:
            door.set(Mode.REFUSE)
        self.run(self._until_empty())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(120)
        self._loop.close()

    @staticmethod
    async def _until_empty() -> None:
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        if passing:
            await asyncio.wait(passing)


class Proxy:
    """host:port on this machine in front of another; open until told otherwise."""

    def __init__(self, wires: Wires, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._wires = wires
        self._mode = Mode.OPEN
        self._port = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        wires.doors.append(self)
        wires.run(self._listen())

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    def set(self, mode: Mode) -> None:
        """Behave so from now on, towards those who are connected too."""
        self._wires.run(self._set(mode))

    async def _set(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.REFUSE:
            if self._server is not None:
                self._server.close()
                self._server = None
        elif self._server is None:
            await self._listen()
        for link in list(self._links):
            if mode in (Mode.REFUSE, Mode.RESET):
                link.cut()
            elif mode is Mode.MUTE:
                link.is_mute = True

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self._port, reuse_address=True)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection(*self._upstream)
        except OSError:
            _cut(writer)
            return
        link = _Link(writer, onward[1], is_mute=self._mode is Mode.MUTE)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pass(link, reader, onward[1], is_answer=False),
                self._pass(link, onward[0], writer, is_answer=True),
            )
        except OSError:
            link.cut()
        finally:
            self._links.discard(link)
            writer.close()
            onward[1].close()

    async def _pass(
        self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._mode is Mode.SLOW:
                await asyncio.sleep(_SLOW_SECONDS + len(data) / _SLOW_RATE)
            if link.is_mute:
                continue
            if self._mode is Mode.RESET and is_answer:
                link.left -= len(data)
                if link.left < 0:
                    link.cut()
                    return
            writer.write(data)
            await writer.drain()
        if not link.is_mute:
            writer.write_eof()


class _Link:
    """One connection through a door."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter, *, is_mute: bool) -> None:
        self._ends = (near, far)
        self.is_mute = is_mute
        self.left = _RESET_AFTER

    def cut(self) -> None:
        for end in self._ends:
            _cut(end)


def _cut(writer: asyncio.StreamWriter) -> None:
    """Send a reset in place of an orderly end."""
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
