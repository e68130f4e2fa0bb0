"""Running work that is cancelled or drained, loses its lease, or whose registry goes away."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from vermeil_errors import OutOfSpace, Unavailable, VermeilError
from vermeil_jobs import (
    Drain,
    Draining,
    JobContext,
    JobKind,
    JobOutcome,
    JobState,
    LeaseLost,
    MemoryJobs,
    Runner,
    workdirs,
)
from vermeil_jobs.suite import Bench
from vermeil_jobs.workdirs import _lock

from .conftest import AwayJobs, MakeRunner, Work, raising, until, wait_until_told  # pants: no-infer-dep


def test_a_cancelled_job_stops_soon(bench: Bench, runner: MakeRunner, threads: ThreadPoolExecutor) -> None:
    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        wait_until_told(context)
        return JobOutcome()

    job = bench.create()
    running = threads.submit(runner(work).run, job.name)
    until(lambda: bench.jobs.get(job.name).state is JobState.RUNNING)
    bench.jobs.cancel(job.name)
    done = running.result(timeout=60)
    assert done is not None
    assert done.state is JobState.CANCELLED


def test_a_drained_worker_gives_its_job_back_and_the_next_one_finds_what_it_left(
    bench: Bench,
    jobs: MemoryJobs,
    home: Path,
    drain: Drain,
    runner: MakeRunner,
    threads: ThreadPoolExecutor,
    make_kind: Callable[[Work], JobKind[StringValue, StringValue]],
) -> None:
    started = threading.Event()

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        started.set()
        checkpoint = context.workdir / "checkpoint"
        if checkpoint.exists():
            return JobOutcome(result={"resumed": checkpoint.read_text()})
        try:
            wait_until_told(context)
        except Draining:
            checkpoint.write_text("step 7")
            raise
        return JobOutcome()

    job = bench.create(max_attempts=1)
    running = threads.submit(runner(work).run, job.name)
    assert started.wait(60)
    drain.start()
    given_back = running.result(timeout=60)
    assert given_back is not None
    assert (given_back.state, given_back.attempt) == (JobState.PENDING, 0)
    done = Runner(jobs, make_kind(work), home).run(job.name)
    assert done is not None
    assert done.result == {"resumed": "step 7"}


def test_a_draining_worker_takes_up_nothing_new(bench: Bench, drain: Drain, runner: MakeRunner) -> None:
    job = bench.create()
    drain.start()
    assert runner(raising(AssertionError("must not run"))).run(job.name) is None
    assert bench.jobs.get(job.name).state is JobState.PENDING


def test_work_whose_lease_is_lost_stops_and_counts_for_nothing(
    bench: Bench, jobs: AwayJobs, runner: MakeRunner, threads: ThreadPoolExecutor
) -> None:
    stopped: list[type[BaseException]] = []
    started = threading.Event()

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        started.set()
        try:
            wait_until_told(context)
        except BaseException as interruption:
            stopped.append(type(interruption))
            raise
        return JobOutcome()

    job = bench.create()
    running = threads.submit(runner(work).run, job.name)
    assert started.wait(60)
    jobs.away = True
    bench.clock.advance(11)
    heir = bench.claim(job, "heir")
    jobs.away = False
    assert running.result(timeout=60) is None
    assert stopped == [LeaseLost]
    assert bench.jobs.get(job.name).attempt == 2
    bench.jobs.heartbeat(job.name, fence=heir.fence)


def test_the_registry_hears_no_more_of_a_lost_lease_while_the_work_is_stuck(
    bench: Bench, jobs: AwayJobs, runner: MakeRunner, threads: ThreadPoolExecutor
) -> None:
    quiet: list[bool] = []
    started = threading.Event()

    def beats(context: JobContext) -> bool:
        return any(thread.name == f"heartbeat {context.job.name}" for thread in threading.enumerate())

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        started.set()
        until(lambda: not beats(context))
        quiet.append(True)
        return JobOutcome()

    job = bench.create()
    running = threads.submit(runner(work).run, job.name)
    assert started.wait(60)
    jobs.away = True
    bench.clock.advance(11)
    bench.claim(job, "heir")
    jobs.away = False
    assert running.result(timeout=120) is None
    assert quiet


@pytest.mark.parametrize("reason", [Unavailable, OutOfSpace], ids=["away", "without space"])
def test_a_registry_that_is_away_stops_no_work_and_loses_no_outcome(
    bench: Bench,
    jobs: AwayJobs,
    runner: MakeRunner,
    threads: ThreadPoolExecutor,
    reason: type[VermeilError],
) -> None:
    jobs.reason = reason
    away = threading.Event()

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        context.log("before")
        assert away.wait(60)
        until(lambda: jobs.in_vain["heartbeat"])
        context.check()
        return JobOutcome(result={"done": True})

    job = bench.create()
    running = threads.submit(runner(work).run, job.name)
    until(lambda: bench.jobs.get(job.name).state is JobState.RUNNING)
    jobs.away = True
    bench.clock.advance(60)
    away.set()
    until(lambda: jobs.in_vain["finish"])
    assert not running.done()
    jobs.away = False
    done = running.result(timeout=60)
    assert done is not None
    assert done.result == {"done": True}
    assert [line.text for line in bench.jobs.list_logs(job.name).lines] == ["before"]


def test_a_heartbeat_that_crosses_the_end_of_its_job_is_no_loss(
    bench: Bench, jobs: AwayJobs, runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.answers_late = True
    done = runner(lambda context, spec: JobOutcome()).run(bench.create().name)
    assert done is not None
    assert done.state is JobState.SUCCEEDED
    assert "lost" not in caplog.text


def test_two_attempts_are_never_in_the_folder_at_once(
    bench: Bench,
    jobs: AwayJobs,
    runner: MakeRunner,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside, most, leave, waits = [], [], threading.Event(), threading.Event()

    def lock(descriptor: int) -> bool:
        is_mine = _lock(descriptor)
        if not is_mine:
            waits.set()
        return is_mine

    monkeypatch.setattr(workdirs, "_lock", lock)

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        inside.append(context)
        most.append(len(inside))
        assert leave.wait(60)
        inside.remove(context)
        return JobOutcome()

    job, one = bench.create(), runner(work)
    zombie = threads.submit(one.run, job.name)
    until(lambda: inside)
    jobs.away = True
    bench.clock.advance(11)
    heir = threads.submit(one.run, job.name)
    until(lambda: bench.jobs.get(job.name).attempt == 2)
    jobs.away = False
    assert waits.wait(60)
    leave.set()
    assert zombie.result(timeout=60) is None
    done = heir.result(timeout=60)
    assert done is not None
    assert done.state is JobState.SUCCEEDED
    assert most == [1, 1]
