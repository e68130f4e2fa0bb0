"""Jobs in memory, in a registry that can be away, and runners that answer for them."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from vermeil_errors import StaleFence, Unavailable, VermeilError
from vermeil_jobs import (
    Drain,
    Failure,
    Job,
    JobContext,
    JobKind,
    JobOutcome,
    ManualClock,
    MemoryJobs,
    Outcome,
    Pulse,
    RecordingDoorbell,
    Runner,
)
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.bench import KIND, QUEUE

Work = Callable[[JobContext, StringValue], JobOutcome]
MakeRunner = Callable[[Work], Runner]


class AwayJobs(MemoryJobs):
    """A registry that can be away, and that can refuse an outcome."""

    reason: type[VermeilError] = Unavailable
    """What it raises while it is away."""
    refuse: type[VermeilError] | None = None
    answers_late = False
    """Whether the answer to a finish comes only after a heartbeat that found the job over."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.in_vain: Counter[str] = Counter()
        """How often "heartbeat" and "finish" found it away."""
        self._away = False
        self._reaching = threading.Lock()
        self._crossed = threading.Event()

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        """Once it is away, no call is under way any more."""
        with self._reaching:
            self._away = away

    def heartbeat(self, name: str, **details: Any) -> Pulse:
        try:
            with self._reached("heartbeat"):
                return super().heartbeat(name, **details)
        except StaleFence:
            self._crossed.set()
            raise

    def finish(self, name: str, *, fence: int, outcome: Outcome) -> Job:
        with self._reached("finish"):
            if self.refuse is not None and not isinstance(outcome, Failure):
                raise self.refuse("the registry does not like it")
            finished = super().finish(name, fence=fence, outcome=outcome)
        if self.answers_late:
            assert self._crossed.wait(60), "no heartbeat came"
        return finished

    @contextmanager
    def _reached(self, call: str) -> Iterator[None]:
        with self._reaching:
            if self.away:
                self.in_vain[call] += 1
                raise self.reason("the registry is away")
            yield


def wait_until_told(context: JobContext) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        context.check()
        time.sleep(0.01)
    raise AssertionError("nobody told the work to stop")


def raising(error: Exception) -> Work:
    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        raise error

    return work


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bench(jobs: MemoryJobs, clock: ManualClock) -> Bench:
    return Bench(jobs, clock, RecordingDoorbell(), jobs)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make_kind() -> Callable[[Work], JobKind[StringValue, StringValue]]:
    def make(work: Work) -> JobKind[StringValue, StringValue]:
        return JobKind(KIND, QUEUE, StringValue, StringValue, lambda _request: None, work)

    return make


@pytest.fixture
def jobs(clock: ManualClock) -> AwayJobs:
    return AwayJobs(clock)


@pytest.fixture
def drain() -> Drain:
    return Drain()


@pytest.fixture
def runner(
    jobs: MemoryJobs, home: Path, drain: Drain, make_kind: Callable[[Work], JobKind[StringValue, StringValue]]
) -> MakeRunner:
    def make(work: Work) -> Runner:
        return Runner(jobs, make_kind(work), home, drain, heartbeat=timedelta(seconds=0.05))

    return make


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
