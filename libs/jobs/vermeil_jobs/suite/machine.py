"""JobMachine: random lives of jobs, held against what must never and what must always happen.

A subclass says how to make a bench. Workers here are rude: they claim anything, remember every lease
they ever had, and finish with whatever fence comes to mind.
"""

import contextlib
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from vermeil_errors import Conflict, StaleFence

from vermeil_jobs.job import Cancellation, Job, JobOutcome, JobState, NewModelVersion
from vermeil_jobs.suite.bench import LEASE, Bench, artifact, failure

_ARROWS = {
    JobState.PENDING: {JobState.RUNNING, JobState.CANCELLED, JobState.FAILED},
    JobState.RUNNING: {JobState.PENDING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED},
}
_MODEL = "models/nano"


class JobMachine(RuleBasedStateMachine):
    """Creates, claims, beats, ends, cancels and waits in any order."""

    jobs = Bundle("jobs")
    leases = Bundle("leases")

    def make_bench(self) -> Bench:
        """A fresh JobClient; the subclass knows which."""
        raise AssertionError("a subclass says which JobClient is tried")

    @initialize()
    def start(self) -> None:
        self.bench = self.make_bench()
        self.last: dict[str, Job] = {}
        self.newest_fence: dict[str, int] = {}
        self.successes: Counter[str] = Counter()

    @rule(target=jobs, after=st.lists(jobs, max_size=2), max_attempts=st.integers(1, 3))
    def create(self, after: list[str], max_attempts: int) -> str:
        job = self.bench.create(after=tuple(after), max_attempts=max_attempts)
        self.last[job.name] = job
        return job.name

    @rule(job=jobs)
    def ask_again(self, job: str) -> None:
        """The request that made the job comes once more."""
        old = self.last[job]
        changes = {"request_id": old.request_id, "after": old.after, "max_attempts": old.max_attempts}
        assert self.bench.create(**changes).name == job

    @rule(target=leases, job=jobs)
    def claim(self, job: str):  # type: ignore[no-untyped-def]
        before = self.bench.jobs.get(job)
        claimed = self.bench.jobs.claim(job, worker="worker", lease=LEASE)
        if claimed.lease is None:
            return multiple()
        assert not before.state.is_final
        assert all(self.bench.jobs.get(name).state is JobState.SUCCEEDED for name in before.after)
        assert claimed.lease.fence > self.newest_fence.get(job, 0)
        assert claimed.job.attempt == before.attempt + 1
        self.newest_fence[job] = claimed.lease.fence
        return job, claimed.lease.fence

    @rule(lease=leases)
    def beat(self, lease: tuple[str, int]) -> None:
        job, fence = lease
        with contextlib.suppress(StaleFence):
            self.bench.jobs.heartbeat(job, fence=fence, lease=LEASE)
            assert fence == self.newest_fence[job], "an old fence kept a lease"

    @rule(lease=leases)
    def succeed(self, lease: tuple[str, int]) -> None:
        job, fence = lease
        versions = (NewModelVersion(_MODEL, artifact(1)),)
        with contextlib.suppress(StaleFence):
            done = self.bench.jobs.finish(job, fence=fence, outcome=JobOutcome(model_versions=versions))
            assert fence == self.newest_fence[job], "an old fence had an effect"
            assert done.state is JobState.SUCCEEDED
            self.successes[str(done.result["model_version"])] += 1

    @rule(lease=leases, retryable=st.booleans())
    def fail(self, lease: tuple[str, int], retryable: bool) -> None:
        job, fence = lease
        with contextlib.suppress(StaleFence):
            self.bench.jobs.finish(job, fence=fence, outcome=failure(retryable=retryable))
            assert fence == self.newest_fence[job], "an old fence had an effect"

    @rule(lease=leases)
    def stop(self, lease: tuple[str, int]) -> None:
        job, fence = lease
        with contextlib.suppress(Conflict):
            done = self.bench.jobs.finish(job, fence=fence, outcome=Cancellation())
            assert done.state is JobState.CANCELLED

    @rule(lease=leases)
    def release(self, lease: tuple[str, int]) -> None:
        job, fence = lease
        with contextlib.suppress(StaleFence):
            self.bench.jobs.release(job, fence=fence)
            assert fence == self.newest_fence[job], "an old fence had an effect"

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        self.bench.jobs.cancel(job)

    @rule(seconds=st.sampled_from([0.5, 3, 11, 70]))
    def wait(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        self.bench.sweep()

    @invariant()
    def changes_follow_the_arrows_and_effects_are_single(self) -> None:
        for name, old in self.last.items():
            new = self.bench.jobs.get(name)
            if old.state.is_final:
                assert new == old, "what is over has changed"
            else:
                assert new.state in (old.state, *_ARROWS[old.state])
            assert 0 <= new.attempt <= new.max_attempts
            assert (new.end_time is not None) == new.state.is_final
            assert (new.error is not None) == (new.state is JobState.FAILED)
            self.last[name] = new

        done = [job for job in self.last.values() if job.state is JobState.SUCCEEDED]
        numbers = sorted(int(str(job.result["model_version"]).rpartition("/")[2]) for job in done)
        assert numbers == list(range(1, len(done) + 1))
        assert len(self.successes) == len(done)

    def teardown(self) -> None:
        """Whatever has happened: with patient workers and a sweeper, every job comes to its end."""
        if not hasattr(self, "bench"):
            return
        for _ in range(200):
            pending = [job for job in map(self.bench.jobs.get, self.last) if not job.state.is_final]
            if not pending:
                return
            self.bench.clock.advance(61)
            self.bench.doorbell.take()
            self.bench.sweep()
            for name in self.bench.doorbell.take():
                claimed = self.bench.jobs.claim(name, worker="patient", lease=LEASE)
                if claimed.lease:
                    outcome = JobOutcome(model_versions=(NewModelVersion(_MODEL, artifact(1)),))
                    self.bench.jobs.finish(name, fence=claimed.lease.fence, outcome=outcome)
        raise AssertionError("some jobs never end")
