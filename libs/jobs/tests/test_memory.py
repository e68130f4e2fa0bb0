"""The ledger over dictionaries, and the names in it, pass their suites."""

import pytest
from vermeil_jobs import ManualClock, MemoryJobs, MemoryNames, Names, RecordingDoorbell
from vermeil_jobs.suite import Bench, JobClientSuite, NamesSuite


class TestMemoryJobs(JobClientSuite):
    @pytest.fixture
    def bench(self) -> Bench:
        clock, doorbell = ManualClock(), RecordingDoorbell()
        jobs = MemoryJobs(doorbell, clock=clock)
        return Bench(jobs, clock, doorbell, jobs.sweep)


class TestMemoryNames(NamesSuite):
    @pytest.fixture
    def jobs(self) -> MemoryJobs:
        return MemoryJobs(RecordingDoorbell(), clock=ManualClock())

    @pytest.fixture
    def bench(self, jobs: MemoryJobs) -> Bench:
        return Bench(jobs, ManualClock(), RecordingDoorbell(), jobs.sweep)

    @pytest.fixture
    def names(self, jobs: MemoryJobs) -> Names:
        return MemoryNames(jobs)
