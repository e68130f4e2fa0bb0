"""The state machine: its arrows as a picture, its life at random."""

from hypothesis import given, settings
from hypothesis import strategies as st
from vermeil_jobs import (
    JobOutcome,
    JobState,
    ManualClock,
    MemoryJobs,
    Priority,
    RecordingDoorbell,
)
from vermeil_jobs.states import RULES
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.bench import KIND
from vermeil_jobs.suite.machine import JobMachine
from vermeil_jobs.suite.sharing import SharingMachine


def test_nothing_leaves_a_final_state() -> None:
    assert not [rule.name for rule in RULES if rule.from_state.is_final]


def test_only_a_claim_makes_a_job_run() -> None:
    arrows = {
        rule.event.__name__ for rule in RULES if (rule.from_state, rule.to_state) == ("PENDING", "RUNNING")
    }
    assert arrows == {"Claim"}


def test_every_state_can_be_reached_and_every_rule_has_its_own_name() -> None:
    assert {rule.to_state for rule in RULES} == set(JobState)
    assert len({rule.name for rule in RULES}) == len(RULES)


class MemoryMachine(JobMachine):
    def make_bench(self) -> Bench:
        clock, doorbell = ManualClock(), RecordingDoorbell()
        jobs = MemoryJobs(doorbell, clock=clock)
        return Bench(jobs, clock, doorbell, jobs)


MemoryMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestMemoryMachine = MemoryMachine.TestCase


class SharedMemoryMachine(SharingMachine):
    def make_bench(self) -> Bench:
        clock, doorbell = ManualClock(), RecordingDoorbell()
        jobs = MemoryJobs(doorbell, clock=clock)
        return Bench(jobs, clock, doorbell, jobs)


SharedMemoryMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestSharedMemoryMachine = SharedMemoryMachine.TestCase


@given(st.lists(st.integers(0, 2), max_size=80))
@settings(max_examples=25, deadline=None)
def test_a_low_job_is_not_passed_over_for_ever_whatever_comes_after_it(owners: list[int]) -> None:
    jobs = MemoryJobs(RecordingDoorbell())
    bench = Bench(jobs, ManualClock(), RecordingDoorbell(), jobs)
    held = bench.claim(bench.create())
    rung = name = bench.create(owner="owners/low", priority=Priority.LOW).name
    busy = jobs.list_jobs(state=JobState.RUNNING).jobs[0].name
    for passed, number in enumerate(owners):
        bench.create(owner=f"owners/high-{number}", priority=Priority.HIGH)
        jobs.finish(busy, fence=held.fence, outcome=JobOutcome())
        claimed = jobs.claim(rung, worker="worker", kinds=[KIND])
        assert claimed.lease is not None
        busy, held = claimed.job.name, claimed.lease
        if busy == name:
            return
        assert passed < 3 * 16
