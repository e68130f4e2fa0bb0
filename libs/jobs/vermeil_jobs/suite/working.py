"""What claims, heartbeats, leases and logs promise."""

from datetime import timedelta

import pytest
from vermeil_errors import AttemptsExhausted, InvalidInput, StaleFence

from vermeil_jobs.job import JobOutcome, JobState, LogLine, Progress
from vermeil_jobs.pages import make_token
from vermeil_jobs.suite.bench import LEASE, Bench, artifact


class WorkingSuite:
    """Claims, heartbeats, leases, logs."""

    def test_a_claim_gives_the_lease_and_counts_an_attempt(self, bench: Bench) -> None:
        claimed = bench.jobs.claim(bench.create().name, worker="worker-1", lease=LEASE)
        assert claimed.lease is not None
        assert claimed.lease.worker == "worker-1"
        assert claimed.lease.end_time == bench.clock.now + LEASE
        assert claimed.job.state is JobState.RUNNING
        assert claimed.job.attempt == 1
        assert claimed.job.start_time == bench.clock.now

    def test_a_doubled_doorbell_finds_the_job_held(self, bench: Bench) -> None:
        job = bench.create()
        bench.claim(job)
        second = bench.jobs.claim(job.name, worker="worker-2")
        assert second.lease is None
        assert second.job.attempt == 1

    def test_a_late_doorbell_finds_the_job_over(self, bench: Bench) -> None:
        job = bench.jobs.cancel(bench.create().name)
        late = bench.jobs.claim(job.name, worker="worker-1")
        assert late.lease is None
        assert late.job == job

    @pytest.mark.parametrize("seconds", [0.5, 3601])
    def test_leases_out_of_range_are_refused(self, bench: Bench, seconds: float) -> None:
        with pytest.raises(InvalidInput, match="lease_duration"):
            bench.jobs.claim(bench.create().name, worker="worker-1", lease=timedelta(seconds=seconds))

    def test_a_heartbeat_keeps_the_lease(self, bench: Bench) -> None:
        job = bench.create()
        lease = bench.claim(job)
        for _ in range(3):
            bench.clock.advance(8)
            pulse = bench.jobs.heartbeat(job.name, fence=lease.fence, lease=LEASE)
            assert pulse.lease.end_time == bench.clock.now + LEASE
            assert not pulse.cancel_requested
        assert not bench.is_claimable(job)

    def test_progress_is_the_latest_that_was_told(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        progress = Progress(3, 10, "steps", "going well", {"loss": 1.5, "nothing": float("inf")})
        bench.jobs.heartbeat(job.name, fence=fence, progress=progress)
        bench.jobs.heartbeat(job.name, fence=fence)
        assert bench.jobs.get(job.name).progress == progress

    def test_what_is_there_before_the_end_can_be_seen_until_the_end_says_what_there_is(
        self, bench: Bench
    ) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        for number in (1, 2):
            bench.jobs.heartbeat(job.name, fence=fence, outputs={"log": artifact(number, "log")})
        bench.jobs.heartbeat(job.name, fence=fence, outputs={"sketch": artifact(3)})
        bench.jobs.heartbeat(job.name, fence=fence)
        assert bench.jobs.get(job.name).outputs == {"log": artifact(2, "log"), "sketch": artifact(3)}
        bench.jobs.finish(job.name, fence=fence, outcome=JobOutcome(outputs={"log": artifact(4, "log")}))
        assert bench.jobs.get(job.name).outputs == {"log": artifact(4, "log")}

    @pytest.mark.parametrize("jump", [3600, -3600])
    def test_a_clock_that_jumps_costs_nothing_while_the_worker_is_heard(
        self, bench: Bench, jump: float
    ) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        bench.clock.advance(jump)
        bench.jobs.heartbeat(job.name, fence=fence)
        bench.sweep()
        assert not bench.is_claimable(job)
        done = bench.jobs.finish(job.name, fence=fence, outcome=JobOutcome())
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)

    def test_an_ended_lease_is_taken_over_and_counts_an_attempt(self, bench: Bench) -> None:
        job = bench.create()
        old = bench.claim(job)
        bench.clock.advance(11)
        new = bench.claim(job, "worker-2")
        assert new.fence > old.fence
        assert bench.jobs.get(job.name).attempt == 2
        with pytest.raises(StaleFence):
            bench.jobs.heartbeat(job.name, fence=old.fence, progress=Progress(9))
        assert bench.jobs.get(job.name).progress == Progress()

    def test_a_late_heartbeat_saves_the_lease_while_nobody_has_taken_over(self, bench: Bench) -> None:
        job = bench.create()
        lease = bench.claim(job)
        bench.clock.advance(60)
        bench.sweep()
        bench.jobs.heartbeat(job.name, fence=lease.fence, lease=LEASE)
        assert not bench.is_claimable(job)

    def test_the_sweeper_rings_for_a_lost_doorbell_less_and_less_often(self, bench: Bench) -> None:
        job = bench.create()
        bench.doorbell.take()
        rings = []
        for second in range(40):
            bench.clock.advance(1)
            bench.sweep()
            rings += [second + 1] * len(bench.doorbell.take())
        assert rings == [1, 2, 4, 8, 16, 32]
        bench.claim(job)

    def test_the_sweeper_rings_for_an_ended_lease(self, bench: Bench) -> None:
        job = bench.create()
        bench.claim(job)
        bench.doorbell.take()
        bench.clock.advance(9)
        bench.sweep()
        assert bench.doorbell.take() == []
        bench.clock.advance(2)
        bench.sweep()
        assert bench.doorbell.take() == [job.name]

    def test_a_job_whose_workers_vanish_is_parked_after_its_attempts(self, bench: Bench) -> None:
        job = bench.create(max_attempts=2)
        bench.claim(job, "worker-1")
        bench.clock.advance(11)
        bench.claim(job, "worker-2")
        bench.clock.advance(11)
        bench.sweep()
        parked = bench.jobs.get(job.name)
        assert parked.state is JobState.FAILED
        assert parked.error is not None
        assert parked.error.reason == AttemptsExhausted.reason
        assert "worker-2 vanished" in parked.error.message
        assert parked.end_time == bench.clock.now
        assert not bench.is_claimable(job)

    def test_a_doorbell_parks_a_job_as_the_sweeper_would(self, bench: Bench) -> None:
        job = bench.create(max_attempts=1)
        bench.claim(job)
        bench.clock.advance(11)
        late = bench.jobs.claim(job.name, worker="worker-2")
        assert late.lease is None
        assert late.job.state is JobState.FAILED

    def test_log_lines_are_kept_in_order_and_paged(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        lines = [LogLine(bench.clock.now + timedelta(microseconds=n), "info", f"line {n}") for n in range(5)]
        bench.jobs.heartbeat(job.name, fence=fence, lines=lines[:2])
        bench.jobs.heartbeat(job.name, fence=fence, lines=lines[2:])
        first = bench.jobs.list_logs(job.name, page_size=3)
        rest = bench.jobs.list_logs(job.name, page_size=3, page_token=first.next_page_token)
        assert [*first.lines, *rest.lines] == lines
        assert rest.next_page_token == ""

    def test_a_heartbeat_sent_twice_writes_its_lines_once(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        line = LogLine(bench.clock.now, "info", "once")
        bench.jobs.heartbeat(job.name, fence=fence, lines=[line])
        bench.jobs.heartbeat(job.name, fence=fence, lines=[line])
        assert bench.jobs.list_logs(job.name).lines == (line,)

    def test_a_long_log_knows_what_was_just_written(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        lines = [LogLine(bench.clock.now, "info", f"line {n}") for n in range(3_000)]
        bench.jobs.heartbeat(job.name, fence=fence, lines=lines)
        bench.jobs.heartbeat(job.name, fence=fence, lines=[LogLine(bench.clock.now, "info", "meanwhile")])
        bench.jobs.heartbeat(job.name, fence=fence, lines=lines)
        rest = bench.jobs.list_logs(
            job.name, page_size=1000, page_token=make_token(f"{job.name} logs", 2_500)
        )
        assert [line.text for line in rest.lines] == [f"line {n}" for n in range(2_500, 3_000)] + [
            "meanwhile"
        ]

    def test_text_that_cannot_be_stored_is_mended(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        lines = [
            LogLine(bench.clock.now, "error", "nul \x00 and half \ud83d"),
            LogLine(bench.clock.now, "info", "é" * 4096),
        ]
        bench.jobs.heartbeat(job.name, fence=fence, lines=lines)
        first, second = bench.jobs.list_logs(job.name).lines
        assert first.text == "nul ␀ and half ?"
        assert second.text.startswith("éé")
        assert len(second.text.encode()) <= 4096
