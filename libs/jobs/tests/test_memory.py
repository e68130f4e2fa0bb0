"""The ledger over dictionaries, and the names in it, pass their suites."""

import pytest
from vermeil_jobs import ManualClock, MemoryJobs, MemoryNames, Names, RecordingDoorbell
from vermeil_jobs.suite import Bench, JobClientSuite, NamesSuite
from vermeil_jobs.suite.bench import failure


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
