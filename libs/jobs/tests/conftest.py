"""A kind of work that does what its specification says, on jobs in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from vermeil_jobs import JobContext, JobKind, JobOutcome, ManualClock, MemoryJobs, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.bench import KIND, QUEUE

Work = Callable[[JobContext, StringValue], JobOutcome]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def jobs(clock: ManualClock) -> MemoryJobs:
    return MemoryJobs(clock=clock)


@pytest.fixture
def bench(jobs: MemoryJobs, clock: ManualClock) -> Bench:
    return Bench(jobs, clock, RecordingDoorbell(), jobs.sweep)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make_kind() -> Callable[[Work], JobKind[StringValue, StringValue]]:
    def make(work: Work) -> JobKind[StringValue, StringValue]:
        return JobKind(KIND, QUEUE, StringValue, StringValue, lambda _request: None, work)

    return make
