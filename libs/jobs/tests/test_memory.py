"""The ledger over dictionaries, and the names in it, pass their suites."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from vermeil_errors import OutOfSpace, Unavailable, VermeilError
from vermeil_jobs import Ledger, ManualClock, MemoryJobs, MemoryNames, Names, RecordingDoorbell
from vermeil_jobs.memory import MemoryStorage
from vermeil_jobs.storage import Transaction
from vermeil_jobs.suite import Bench, JobClientSuite, NamesSuite
from vermeil_jobs.suite.bench import failure

T = TypeVar("T")


class TestMemoryJobs(JobClientSuite):
    @pytest.fixture
    def bench(self) -> Bench:
        clock, doorbell = ManualClock(), RecordingDoorbell()
        jobs = MemoryJobs(doorbell, clock=clock)
        return Bench(jobs, clock, doorbell, jobs)


def test_who_was_rung_for_in_vain_is_recalled_and_nobody_else() -> None:
    clock, doorbell = ManualClock(), RecordingDoorbell()
    jobs = MemoryJobs(doorbell, clock=clock)
    bench = Bench(jobs, clock, doorbell, jobs)
    waiting, tried, held = (bench.create() for _ in range(3))
    bench.create(after=(waiting.name,))
    lost = bench.create()
    bench.claim(lost)
    for _ in range(10):
        clock.advance(300)
        bench.sweep()
    jobs.finish(tried.name, fence=bench.claim(tried).fence, outcome=failure())
    bench.claim(held)
    doorbell.take()
    jobs.recall()
    assert doorbell.take() == []
    bench.sweep()
    assert sorted(doorbell.take()) == sorted([waiting.name, lost.name])


class StuckStorage(MemoryStorage):
    """Can be read while it takes no writes, as a full disk, or a database that is lost between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal: VermeilError | None = None

    def write(self, work: Callable[[Transaction], T]) -> T:
        if self.refusal:
            raise self.refusal
        return super().write(work)


@pytest.mark.parametrize("refusal", [OutOfSpace("the disk is full"), Unavailable("no answer within 15 s")])
def test_a_storage_that_took_no_writes_costs_no_attempt(refusal: VermeilError) -> None:
    """Nobody's heartbeat was heard: that a lease has ended says nothing about its worker."""
    clock, doorbell, storage = ManualClock(), RecordingDoorbell(), StuckStorage()
    ledger = Ledger(storage, doorbell, clock=clock)
    bench = Bench(ledger, clock, doorbell, ledger)
    job = bench.create(max_attempts=1)
    lease = bench.claim(job)
    doorbell.take()
    storage.refusal = refusal
    clock.advance(11)
    with pytest.raises(type(refusal)):
        bench.sweep()
    storage.refusal = None
    bench.sweep()
    assert doorbell.take() == []
    assert not bench.is_claimable(job)
    assert ledger.heartbeat(job.name, fence=lease.fence).lease.fence == lease.fence


class TestMemoryNames(NamesSuite):
    @pytest.fixture
    def jobs(self) -> MemoryJobs:
        return MemoryJobs(RecordingDoorbell(), clock=ManualClock())

    @pytest.fixture
    def bench(self, jobs: MemoryJobs) -> Bench:
        return Bench(jobs, ManualClock(), RecordingDoorbell(), jobs)

    @pytest.fixture
    def names(self, jobs: MemoryJobs) -> Names:
        return MemoryNames(jobs)
