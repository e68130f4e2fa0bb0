"""SharingMachine: workers of several owners who take what they are handed, held against limits and turns.

A subclass says how to make a bench. Whatever the order: nobody has more than he may have, no worker
goes away empty-handed while a job may run, and every job ends once.
"""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from vermeil_errors import QuotaExceeded, StaleFence

from vermeil_jobs.job import Job, JobOutcome, JobState, Priority
from vermeil_jobs.limits import Limits
from vermeil_jobs.suite.bench import KIND, LEASE, Bench, failure

_OWNERS = ("owners/ann", "owners/bob", "owners/cid")


class SharingMachine(RuleBasedStateMachine):
    """Creates, is handed out, ends, vanishes, sets limits and waits in any order."""

    def make_bench(self) -> Bench:
        """A fresh JobClient; the subclass knows which."""
        raise AssertionError("a subclass says which JobClient is tried")

    @initialize()
    def start(self) -> None:
        self.bench = self.make_bench()
        self.jobs: dict[str, Job] = {}
        self.held: list[tuple[str, int]] = []
        self.limits = dict.fromkeys(_OWNERS, Limits())
        self.ends: Counter[str] = Counter()

    @rule(owner=st.sampled_from(_OWNERS), priority=st.sampled_from(Priority), number=st.integers(1, 4))
    def create(self, owner: str, priority: Priority, number: int) -> None:
        for _ in range(number):
            most, waiting = self.limits[owner].max_waiting, self.number(owner, JobState.PENDING)
            try:
                job = self.bench.create(owner=owner, priority=priority, max_attempts=100)
            except QuotaExceeded:
                assert 0 < most <= waiting
            else:
                assert not most or waiting < most
                self.jobs[job.name] = job

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        rung = data.draw(st.sampled_from(list(self.jobs)))  # by age: names of one moment are in no order
        claimed = self.bench.jobs.claim(rung, worker="worker", lease=LEASE, kinds=[KIND])
        if claimed.lease is None:
            assert not any(self.may_run(job) for job in self.jobs.values()), "a worker went away empty-handed"
            return
        taken = self.jobs[claimed.job.name]
        if taken.state is JobState.PENDING:
            assert self.has_place(taken.owner), "somebody over the limit was handed out"
        self.held.append((claimed.job.name, claimed.lease.fence))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["succeed", "retry", "release"]))
    def end(self, data: st.DataObject, how: str) -> None:
        name, fence = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        try:
            if how == "release":
                self.bench.jobs.release(name, fence=fence)
                return
            outcome = JobOutcome() if how == "succeed" else failure()
            ended = self.bench.jobs.finish(name, fence=fence, outcome=outcome)
        except StaleFence:
            return
        self.ends[name] += ended.state.is_final

    @rule(owner=st.sampled_from(_OWNERS), running=st.integers(0, 2), waiting=st.integers(0, 5))
    def limit(self, owner: str, running: int, waiting: int) -> None:
        self.limits[owner] = Limits(running, waiting)
        self.bench.ledger.set_quota(owner, self.limits[owner])

    @rule(seconds=st.sampled_from([1, 11, 70]))
    def wait(self, seconds: float) -> None:
        """Leases end, pauses too."""
        self.bench.clock.advance(seconds)
        self.bench.sweep()

    @invariant()
    def nobody_has_more_than_he_may_have(self) -> None:
        before = {owner: self.number(owner, JobState.RUNNING) for owner in _OWNERS}
        self.jobs = {name: self.bench.jobs.get(name) for name in self.jobs}
        for owner in _OWNERS:
            most = self.limits[owner].max_running
            assert not most or self.number(owner, JobState.RUNNING) <= max(most, before[owner])
            quota = self.bench.ledger.quota(owner)
            counts = [self.number(owner, state) for state in (JobState.RUNNING, JobState.PENDING)]
            assert [quota.num_running, quota.num_waiting] == counts
        assert all(count <= 1 for count in self.ends.values()), "a job has ended twice"

    def teardown(self) -> None:
        """Whatever has happened: with a patient worker who is rung, every job comes to its end."""
        if not hasattr(self, "bench"):
            return
        for _ in range(300):
            if all(self.bench.jobs.get(name).state.is_final for name in self.jobs):
                return
            self.bench.clock.advance(61)
            self.bench.sweep()
            for name in self.bench.doorbell.take():
                claimed = self.bench.jobs.claim(name, worker="patient", lease=LEASE, kinds=[KIND])
                if claimed.lease is not None:
                    fence = claimed.lease.fence
                    self.bench.jobs.finish(claimed.job.name, fence=fence, outcome=JobOutcome())
        raise AssertionError("some jobs never end")

    def number(self, owner: str, state: JobState) -> int:
        """How many jobs an owner had when last looked."""
        return sum((job.owner, job.state) == (owner, state) for job in self.jobs.values())

    def has_place(self, owner: str) -> bool:
        """Whether one more job of the owner may run, as last looked."""
        most = self.limits[owner].max_running
        return not most or self.number(owner, JobState.RUNNING) < most

    def may_run(self, job: Job) -> bool:
        """Whether a job that never failed, as last looked at, waits for nothing but a worker."""
        return job.state is JobState.PENDING and job.attempt == 0 and self.has_place(job.owner)
