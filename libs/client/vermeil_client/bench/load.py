"""Sends requests at a rate or at a fixed number at once, and writes down what came back and when.

The client measures itself too: how late it sends, how late its event loop turns, how much of a processor it
takes. A client that is late makes a server look slow.
"""

import asyncio
import os
import random
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice

import aiohttp

from vermeil_client.bench.mixture import Ask, Mixture
from vermeil_client.bench.outcome import End, Outcome
from vermeil_client.bench.reading import reading, told_error

_TICK = 0.01
_COME_AGAIN = (429, 503)


@dataclass(frozen=True)
class Target:
    """The server."""

    url: str
    """Without /v1."""
    api_key: str = ""
    timeout: float = 600.0
    """Seconds that an answer may take, from request to last token."""


@dataclass(frozen=True)
class Pace:
    """How fast requests come, and when they end: after so many, or after so many seconds."""

    rate: float | None = None
    """Requests a second, as a Poisson process; None keeps `concurrency` going."""
    concurrency: int = 16
    """Requests at once where there is no rate."""
    num_prompts: int | None = None
    duration: float | None = None
    """Seconds; what is under way then is waited for."""


@dataclass
class Run:
    """A load that is over."""

    pace: Pace
    outcomes: list[Outcome] = field(default_factory=list)
    lags: "array[float]" = field(default_factory=lambda: array("f"))
    """Seconds that the event loop turned late, each 10 ms."""
    cpu_seconds: float = 0.0
    """Of this process, user and system."""
    wall_seconds: float = 0.0
    max_concurrent: int = 0
    started: float = field(default_factory=time.time)
    """Seconds since 1970."""


async def apply(
    target: Target,
    mixture: Mixture,
    pace: Pace,
    *,
    name: str,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> Run:
    """Apply a load to a server.

    Args:
        name: Beginning of every request's id.
        on_outcome: Called when a request has ended.
    """
    run = Run(pace)
    before = os.times()
    async with _session(target) as session:
        sender = _Sender(session, target, run, name, on_outcome)
        ticking = asyncio.create_task(_tick(run.lags))
        try:
            await (sender.at_once(mixture) if pace.rate is None else sender.at_rate(mixture, pace.rate))
        finally:
            ticking.cancel()
    after = os.times()
    run.cpu_seconds = after.user + after.system - before.user - before.system
    run.wall_seconds = after.elapsed - before.elapsed
    return run


def _session(target: Target) -> aiohttp.ClientSession:
    headers = {"content-type": "application/json"}
    if target.api_key:
        headers["authorization"] = f"Bearer {target.api_key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=target.timeout),
        headers=headers,
        read_bufsize=2**18,
    )


class _Sender:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        target: Target,
        run: Run,
        name: str,
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        self._session = session
        self._url = target.url
        self._run = run
        self._name = name
        self._on_outcome = on_outcome
        self._numbers = count()
        self._num_open = 0
        self._began = time.perf_counter()

    async def at_rate(self, mixture: Mixture, rate: float) -> None:
        """A Poisson process: gaps do not know whether the server keeps up."""
        chance = random.Random(f"{mixture.seed}/gaps")  # noqa: S311 no secret
        due = 0.0
        under_way: set[asyncio.Task[None]] = set()
        for ask in self._asks(mixture):
            due += chance.expovariate(rate)
            if self._run.pace.duration is not None and due > self._run.pace.duration:
                break
            await asyncio.sleep(max(0.0, due - self._now()))
            task = asyncio.create_task(self._send(ask, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def at_once(self, mixture: Mixture) -> None:
        """So many at a time, each followed by the next; one each where the time is over before they begin."""
        asks = self._asks(mixture)

        async def work() -> None:
            for ask in asks:
                await self._send(ask, self._now())
                if self._run.pace.duration is not None and self._now() > self._run.pace.duration:
                    return

        await asyncio.gather(*(work() for _ in range(self._run.pace.concurrency)))

    def _asks(self, mixture: Mixture) -> Iterator[Ask]:
        return islice(mixture.asks(), self._run.pace.num_prompts)

    def _now(self) -> float:
        return time.perf_counter() - self._began

    async def _send(self, ask: Ask, due: float) -> None:
        outcome = Outcome(f"{self._name}-{next(self._numbers)}", ask.kind, due, self._now())
        self._num_open += 1
        self._run.max_concurrent = max(self._run.max_concurrent, self._num_open)
        has_begun = False
        try:
            headers = {"x-request-id": outcome.id}
            async with self._session.post(self._url + ask.path, data=ask.body, headers=headers) as answer:
                has_begun = answer.status == 200
                await (self._read(ask, answer, outcome) if has_begun else _refused(answer, outcome))
        except TimeoutError:
            outcome.end, outcome.code = End.TIMED_OUT, "timeout"
        except aiohttp.ClientError as error:
            outcome.end = End.LOST if has_begun else End.UNREACHABLE
            outcome.code, outcome.problem = type(error).__name__, str(error)
        finally:
            self._num_open -= 1
        outcome.ended = outcome.ended or self._now()
        self._run.outcomes.append(outcome)
        self._on_outcome(outcome)

    async def _read(self, ask: Ask, answer: aiohttp.ClientResponse, outcome: Outcome) -> None:
        reader = reading(ask)
        latest = 0.0
        async for data in answer.content.iter_any():
            if reader.feed(data):
                now = self._now()
                if outcome.first is None:
                    outcome.first = now
                else:
                    outcome.gaps.append(now - latest)
                latest = now
        outcome.ended = self._now()
        reader.judge(outcome)
        named = answer.headers.get("x-request-id", outcome.id)
        if named != outcome.id:
            outcome.end, outcome.code = End.WRONG, "other id"
            outcome.problem = f"the answer is to {named}"


async def _refused(answer: aiohttp.ClientResponse, outcome: Outcome) -> None:
    code, outcome.problem = told_error(await answer.read())
    outcome.code = f"{answer.status} {code}".strip()
    if answer.status in _COME_AGAIN and "retry-after" in answer.headers:
        outcome.end = End.SHED
    else:
        outcome.end = End.REFUSED if answer.status < 500 and answer.status != 429 else End.FAILED


async def _tick(lags: "array[float]") -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(_TICK)
        lags.append(max(0.0, time.perf_counter() - before - _TICK))
