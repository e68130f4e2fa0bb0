"""How one doorbell is answered: every way a job can end, and every way the world can be in the way."""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from vermeil_errors import AlreadyExists, Cancelled, InvalidInput, Unavailable, VermeilError, Violation
from vermeil_jobs import (
    Drain,
    Draining,
    Failure,
    Job,
    JobContext,
    JobKind,
    JobOutcome,
    JobState,
    LeaseLost,
    ManualClock,
    MemoryJobs,
    Outcome,
    Progress,
    Pulse,
    Runner,
    Spec,
)
from vermeil_jobs.suite import Bench
from vermeil_telemetry import current_traceparent

from .conftest import Work

MakeRunner = Callable[[Work], Runner]


class AwayJobs(MemoryJobs):
    """A registry that can be away, and that can refuse an outcome."""

    away = False
    refuse: type[VermeilError] | None = None

    def heartbeat(self, name: str, **details: Any) -> Pulse:
        self._reach()
        return super().heartbeat(name, **details)

    def finish(self, name: str, *, fence: int, outcome: Outcome) -> Job:
        self._reach()
        if self.refuse is not None and not isinstance(outcome, Failure):
            raise self.refuse("the registry does not like it")
        return super().finish(name, fence=fence, outcome=outcome)

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("the registry is away")


@pytest.fixture
def jobs(clock: ManualClock) -> AwayJobs:
    return AwayJobs(clock=clock)


@pytest.fixture
def drain() -> Drain:
    return Drain()


@pytest.fixture
def runner(
    jobs: MemoryJobs, home: Path, drain: Drain, make_kind: Callable[[Work], JobKind[StringValue, StringValue]]
) -> MakeRunner:
    def make(work: Work) -> Runner:
        return Runner(jobs, make_kind(work), home, drain, heartbeat=timedelta(seconds=0.05))

    return make


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def wait_until_told(context: JobContext) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        context.check()
        time.sleep(0.01)
    raise AssertionError("nobody told the work to stop")


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def raising(error: Exception) -> Work:
    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        raise error

    return work


def test_work_is_given_its_specification_and_its_outcome_ends_the_job(
    bench: Bench, runner: MakeRunner
) -> None:
    job = bench.create(spec=Spec.pack(StringValue(value="hello")))
    done = runner(lambda context, spec: JobOutcome(result={"said": spec.value, "job": context.job.name})).run(
        job.name
    )
    assert done is not None
    assert done.state is JobState.SUCCEEDED
    assert done.result == {"said": "hello", "job": job.name}


def test_the_last_progress_and_all_log_lines_are_told_before_the_end(
    bench: Bench, runner: MakeRunner
) -> None:
    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        for step in range(3):
            context.progress(step + 1, 3, f"step {step}", {"loss": 1.0 / (step + 1)}, unit="steps")
            context.log(f"line {step}")
        return JobOutcome()

    job = bench.create()
    done = runner(work).run(job.name)
    assert done is not None
    assert done.progress == Progress(3, 3, "steps", "step 2", {"loss": 1 / 3})
    assert [line.text for line in bench.jobs.list_logs(job.name).lines] == ["line 0", "line 1", "line 2"]


def test_a_failure_that_no_attempt_will_mend_ends_the_job_at_once(bench: Bench, runner: MakeRunner) -> None:
    violations = (Violation("recipe.model.num_heads", "must divide 384"),)
    error = InvalidInput("the recipe is wrong", violations=violations)
    done = runner(raising(error)).run(bench.create().name)
    assert done is not None
    assert done.state is JobState.FAILED
    assert done.error is not None
    assert (done.error.reason, done.error.violations) == ("INVALID_INPUT", violations)


@pytest.mark.parametrize(
    "error", [Unavailable("the store is away"), KeyError("surprise"), Cancelled("by a peer")]
)
def test_a_failure_that_may_pass_is_tried_again(bench: Bench, runner: MakeRunner, error: Exception) -> None:
    again = runner(raising(error)).run(bench.create().name)
    assert again is not None
    assert (again.state, again.attempt) == (JobState.PENDING, 1)


def test_a_surprise_leaves_its_traceback_in_the_log(bench: Bench, runner: MakeRunner) -> None:
    job = bench.create()
    runner(raising(KeyError("surprise"))).run(job.name)
    log = "\n".join(line.text for line in bench.jobs.list_logs(job.name).lines)
    assert "Traceback" in log
    assert "KeyError: 'surprise'" in log


def test_a_full_disk_is_named_and_not_tried_again(bench: Bench, runner: MakeRunner) -> None:
    done = runner(raising(OSError(errno.ENOSPC, "No space left on device", "model.bin"))).run(
        bench.create().name
    )
    assert done is not None
    assert done.error is not None
    assert done.error.reason == "OUT_OF_SPACE"
    assert "model.bin" in done.error.message


def test_a_specification_of_another_type_is_refused(bench: Bench, runner: MakeRunner) -> None:
    job = bench.create(spec=Spec.pack(Int64Value(value=7)))
    done = runner(lambda context, spec: JobOutcome()).run(job.name)
    assert done is not None
    assert done.error is not None
    assert "google.protobuf.StringValue" in done.error.message


def test_the_doorbell_of_another_kind_harms_nobody(bench: Bench, runner: MakeRunner) -> None:
    job = bench.create(kind="vermeil.other.v1.work")
    left = runner(raising(AssertionError("must not run"))).run(job.name)
    assert left is not None
    assert (left.state, left.attempt) == (JobState.PENDING, 0)


def test_a_doorbell_for_nobody_is_ignored(runner: MakeRunner) -> None:
    assert runner(raising(AssertionError("must not run"))).run("jobs/nobody") is None


def test_doubled_doorbells_do_the_work_once(
    bench: Bench, runner: MakeRunner, threads: ThreadPoolExecutor
) -> None:
    ran = []

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        ran.append(threading.get_ident())
        time.sleep(0.1)
        return JobOutcome()

    job, one = bench.create(), runner(work)
    for future in [threads.submit(one.run, job.name) for _ in range(4)]:
        future.result()
    assert len(ran) == 1
    assert bench.jobs.get(job.name).state is JobState.SUCCEEDED


def test_a_cancelled_job_stops_soon(bench: Bench, runner: MakeRunner, threads: ThreadPoolExecutor) -> None:
    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        wait_until_told(context)
        return JobOutcome()

    job = bench.create()
    running = threads.submit(runner(work).run, job.name)
    until(lambda: bench.jobs.get(job.name).state is JobState.RUNNING)
    bench.jobs.cancel(job.name)
    done = running.result(timeout=2)
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
    assert started.wait(5)
    drain.start()
    given_back = running.result(timeout=5)
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

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        try:
            wait_until_told(context)
        except BaseException as interruption:
            stopped.append(type(interruption))
            raise
        return JobOutcome()

    job = bench.create()
    running = threads.submit(runner(work).run, job.name)
    until(lambda: bench.jobs.get(job.name).state is JobState.RUNNING)
    jobs.away = True
    bench.clock.advance(11)
    heir = bench.claim(job, "heir")
    jobs.away = False
    assert running.result(timeout=5) is None
    assert stopped == [LeaseLost]
    assert bench.jobs.get(job.name).attempt == 2
    bench.jobs.heartbeat(job.name, fence=heir.fence)


def test_a_registry_that_is_away_stops_no_work_and_loses_no_outcome(
    bench: Bench, jobs: AwayJobs, runner: MakeRunner, threads: ThreadPoolExecutor
) -> None:
    away = threading.Event()

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        context.log("before")
        away.wait()
        time.sleep(0.2)
        context.check()
        return JobOutcome(result={"done": True})

    job = bench.create()
    running = threads.submit(runner(work).run, job.name)
    until(lambda: bench.jobs.get(job.name).state is JobState.RUNNING)
    jobs.away = True
    bench.clock.advance(60)
    away.set()
    time.sleep(0.4)
    assert not running.done()
    jobs.away = False
    done = running.result(timeout=5)
    assert done is not None
    assert done.result == {"done": True}
    assert [line.text for line in bench.jobs.list_logs(job.name).lines] == ["before"]


def test_an_outcome_the_registry_refuses_fails_the_job(
    bench: Bench, jobs: AwayJobs, runner: MakeRunner
) -> None:
    jobs.refuse = AlreadyExists
    done = runner(lambda context, spec: JobOutcome()).run(bench.create().name)
    assert done is not None
    assert done.error is not None
    assert (done.state, done.error.reason) == (JobState.FAILED, "ALREADY_EXISTS")


def test_the_folder_of_a_job_stays_between_attempts_and_goes_with_its_end(
    bench: Bench, home: Path, runner: MakeRunner
) -> None:
    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        marker = context.workdir / "marker"
        if not marker.exists():
            marker.touch()
            raise Unavailable("try again")
        return JobOutcome()

    job = bench.create()
    runner(work).run(job.name)
    folder = home / "jobs" / job.name.removeprefix("jobs/")
    assert (folder / "marker").exists()
    bench.clock.advance(2)
    runner(work).run(job.name)
    assert not folder.exists()


def test_two_attempts_are_never_in_the_folder_at_once(
    bench: Bench, jobs: AwayJobs, runner: MakeRunner, threads: ThreadPoolExecutor
) -> None:
    inside, most, leave = [], [], threading.Event()

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        inside.append(context)
        most.append(len(inside))
        leave.wait(10)
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
    time.sleep(0.3)
    leave.set()
    assert zombie.result(timeout=5) is None
    done = heir.result(timeout=5)
    assert done is not None
    assert done.state is JobState.SUCCEEDED
    assert most == [1, 1]


def test_the_trace_of_the_request_goes_on_in_the_work(bench: Bench, runner: MakeRunner) -> None:
    trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"
    seen = []

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        seen.append(current_traceparent())
        return JobOutcome()

    runner(work).run(bench.create(traceparent=trace).name)
    assert seen[0].split("-")[1] == trace.split("-")[1]


def test_folders_left_by_jobs_that_ended_elsewhere_are_cleaned_up(
    bench: Bench, home: Path, runner: MakeRunner
) -> None:
    import os

    old, running = bench.jobs.cancel(bench.create().name), bench.create()
    for job in (old, running):
        folder = home / "jobs" / job.name.removeprefix("jobs/")
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    runner(lambda context, spec: JobOutcome()).run(bench.create().name)
    assert [path.name for path in (home / "jobs").iterdir()] == [running.name.removeprefix("jobs/")]
