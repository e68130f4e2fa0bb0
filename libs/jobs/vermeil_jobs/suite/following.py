"""What watching a job and waiting for predecessors promise."""

import threading
import time

import pytest
from vermeil_errors import DeadlineExceeded, NotFound, PredecessorFailed, catalogue

from vermeil_jobs.job import JobOutcome, JobState, Progress
from vermeil_jobs.suite.bench import Bench, failure


class FollowingSuite:
    """Watching, predecessors."""

    def test_a_watcher_sees_the_job_now_every_change_and_the_end(self, bench: Bench) -> None:
        job = bench.create()
        seen = iter(bench.jobs.watch(job.name, timeout=60))
        assert next(seen).state is JobState.PENDING
        lease = bench.claim(job)
        assert next(seen).state is JobState.RUNNING
        bench.jobs.heartbeat(job.name, fence=lease.fence, progress=Progress(1, 2))
        assert next(seen).progress == Progress(1, 2)
        bench.jobs.finish(job.name, fence=lease.fence, outcome=JobOutcome())
        assert next(seen).state is JobState.SUCCEEDED
        assert next(seen, None) is None

    def test_many_watchers_are_woken_at_once(self, bench: Bench) -> None:
        job = bench.create()
        ends: list[JobState] = []
        watchers = [
            threading.Thread(
                target=lambda: ends.append(list(bench.jobs.watch(job.name, timeout=60))[-1].state)
            )
            for _ in range(3)
        ]
        for watcher in watchers:
            watcher.start()
        end = time.monotonic() + 60
        while bench.ledger.changes.num_watchers < len(watchers):
            assert time.monotonic() < end, "nobody watches"
            time.sleep(0.01)
        bench.jobs.cancel(job.name)
        for watcher in watchers:
            watcher.join(120)
        assert ends == [JobState.CANCELLED] * 3

    def test_a_job_that_is_over_is_shown_once(self, bench: Bench) -> None:
        job = bench.jobs.cancel(bench.create().name)
        assert list(bench.jobs.watch(job.name, timeout=60)) == [job]

    def test_an_unknown_job_cannot_be_watched(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            list(bench.jobs.watch("jobs/nobody", timeout=60))

    def test_a_watcher_can_lose_patience(self, bench: Bench) -> None:
        job = bench.create()
        with pytest.raises(DeadlineExceeded, match=f"{job.name} is still (PENDING|unknown) after 0.3 s"):
            list(bench.jobs.watch(job.name, timeout=0.3))

    def test_a_job_waits_for_all_its_predecessors(self, bench: Bench) -> None:
        first, second = bench.create(), bench.create()
        last = bench.create(after=(first.name, second.name))
        bench.doorbell.take()
        for job, expected in ((first, []), (second, [last.name])):
            assert not bench.is_claimable(last)
            bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=JobOutcome())
            assert bench.doorbell.take() == expected
        bench.claim(last)

    def test_a_waiting_job_is_not_rung_for(self, bench: Bench) -> None:
        bench.create(after=(bench.create().name,))
        bench.doorbell.take()
        bench.clock.advance(5)
        bench.sweep()
        assert len(bench.doorbell.take()) == 1

    def test_a_job_after_one_that_has_succeeded_is_ready_at_once(self, bench: Bench) -> None:
        first = bench.create()
        bench.jobs.finish(first.name, fence=bench.claim(first).fence, outcome=JobOutcome())
        bench.doorbell.take()
        last = bench.create(after=(first.name,))
        assert bench.doorbell.take() == [last.name]
        bench.claim(last)

    @pytest.mark.parametrize("early", [True, False])
    def test_a_failed_predecessor_fails_everything_after_it(self, bench: Bench, early: bool) -> None:
        first = bench.create()
        names = []
        if not early:
            names = [bench.create(after=(first.name,)).name]
            names.append(bench.create(after=(names[0],)).name)
        reason = failure(retryable=False).error
        bench.jobs.finish(first.name, fence=bench.claim(first).fence, outcome=failure(retryable=False))
        if early:
            names = [bench.create(after=(first.name,)).name]
        for name in names:
            job = bench.jobs.get(name)
            assert job.state is JobState.FAILED
            assert job.error is not None
            assert job.error.reason == PredecessorFailed.reason
            assert catalogue()[job.error.reason].grpc_status == "FAILED_PRECONDITION"
            assert job.error.message.endswith(f"{reason.reason}: {reason.message}"), "the cause is told on"
            assert job.end_time == bench.clock.now
        if not early:
            assert bench.jobs.get(names[0]).error.message.startswith(first.name)  # type: ignore[union-attr]

    def test_a_cancelled_predecessor_cancels_everything_after_it(self, bench: Bench) -> None:
        first = bench.create()
        second = bench.create(after=(first.name,))
        third = bench.create(after=(second.name,))
        bench.jobs.cancel(first.name)
        for job in (first, second, third):
            assert bench.jobs.get(job.name).state is JobState.CANCELLED

    def test_a_predecessor_that_is_tried_again_is_waited_for(self, bench: Bench) -> None:
        first = bench.create()
        last = bench.create(after=(first.name,))
        bench.jobs.finish(first.name, fence=bench.claim(first).fence, outcome=failure())
        assert bench.jobs.get(last.name).state is JobState.PENDING
        assert not bench.is_claimable(last)

    def test_a_predecessor_must_exist(self, bench: Bench) -> None:
        with pytest.raises(NotFound, match="jobs/nobody"):
            bench.create(after=("jobs/nobody",))
        assert bench.jobs.list_jobs().jobs == ()

    def test_a_predecessor_named_twice_counts_once(self, bench: Bench) -> None:
        first = bench.create()
        last = bench.create(after=(first.name, first.name))
        bench.jobs.finish(first.name, fence=bench.claim(first).fence, outcome=JobOutcome())
        bench.claim(last)
