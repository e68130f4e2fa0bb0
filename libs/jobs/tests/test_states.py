"""The state machine: its arrows as a picture, its life at random."""

from hypothesis import settings
from vermeil_jobs import JobState, ManualClock, MemoryJobs, RecordingDoorbell
from vermeil_jobs.states import RULES
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.machine import JobMachine


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
        return Bench(jobs, clock, doorbell, jobs.sweep)


MemoryMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestMemoryMachine = MemoryMachine.TestCase
