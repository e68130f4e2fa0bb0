"""Watching a job from the event loop: woken by changes in this process, slow polling for others."""

import asyncio
from collections.abc import AsyncIterator

from vermeil_errors import Unavailable
from vermeil_jobs import Job, Ledger

from vermeil_registry.threads import Threads


class Watches:
    """All watches of this server."""

    def __init__(self, ledger: Ledger, threads: Threads, *, poll_seconds: float = 1.0) -> None:
        self._ledger = ledger
        self._threads = threads
        self._poll_seconds = poll_seconds
        self._woken: set[asyncio.Event] = set()
        self._draining = False

    async def follow(self, name: str) -> AsyncIterator[Job]:
        """The job now and after every change, until its final state; costs nothing once closed."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        last: Job | None = None
        self._woken.add(woken)
        try:
            with self._ledger.changes.subscribed(name, lambda: loop.call_soon_threadsafe(woken.set)):
                while not self._draining:
                    woken.clear()
                    job = await self._threads.run(self._ledger.get, name)
                    if job != last:
                        yield job
                        last = job
                    if job.state.is_final:
                        return
                    await self._wait(woken)
        finally:
            self._woken.discard(woken)
        raise Unavailable("the registry is stopping", fix="watch again in a moment")

    def drain(self) -> None:
        """End all watches: those who watch come back to the next registry."""
        self._draining = True
        for woken in self._woken:
            woken.set()

    async def _wait(self, woken: asyncio.Event) -> None:
        if self._draining:
            return
        try:
            async with asyncio.timeout(self._poll_seconds):
                await woken.wait()
        except TimeoutError:
            return
