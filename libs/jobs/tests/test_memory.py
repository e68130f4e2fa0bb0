"""The ledger over dictionaries passes the suite."""

import pytest
from vermeil_jobs import ManualClock, MemoryJobs, RecordingDoorbell
from vermeil_jobs.suite import Bench, JobClientSuite


class TestMemoryJobs(JobClientSuite):
    @pytest.fixture
    def bench(self) -> Bench:
        clock, doorbell = ManualClock(), RecordingDoorbell()
        jobs = MemoryJobs(doorbell, clock=clock)
        return Bench(jobs, clock, doorbell, jobs.sweep)
