"""How one doorbell is answered: every way a job can end, and every way the world can be in the way."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from vermeil_artifacts.cache import Cache
from vermeil_errors import AlreadyExists, Cancelled, InvalidInput, Unavailable, Unimplemented, Violation
from vermeil_jobs import (
    JobContext,
    JobOutcome,
    JobState,
    Progress,
    Spec,
)
from vermeil_jobs.suite import Bench
from vermeil_telemetry import current_traceparent

from .conftest import AwayJobs, MakeRunner, raising  # pants: no-infer-dep


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


def test_what_a_job_fetches_is_held_until_it_ends(bench: Bench, runner: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"weights")
    cache = Cache(tmp_path / "cache", max_bytes=0)
    ref = cache.publish(tmp_path / "model", kind="model")

    def work(_context: JobContext, _spec: StringValue) -> JobOutcome:
        with cache.kept():
            folder = cache.fetch(ref)
            cache.use(ref.digest)
        cache.forget(max_bytes=0)
        return JobOutcome(result={"weights": (folder / "weights").read_text()})

    done = runner(work).run(bench.create().name)
    assert done is not None
    assert done.result == {"weights": "weights"}
    cache.forget(max_bytes=0)
    assert not cache.exists(ref.digest)


def test_a_failure_that_no_attempt_will_mend_ends_the_job_at_once(bench: Bench, runner: MakeRunner) -> None:
    violations = (Violation("recipe.model.num_heads", "must divide 384"),)
    error = InvalidInput("the recipe is wrong", violations=violations)
    done = runner(raising(error)).run(bench.create().name)
    assert done is not None
    assert done.state is JobState.FAILED
    assert done.error is not None
    assert (done.error.reason, done.error.violations) == ("INVALID_INPUT", violations)


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the store is away"),
        Unimplemented("upgraded soon"),
        KeyError("surprise"),
        Cancelled("by a peer"),
    ],
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
    ran, may_end = [], threading.Event()

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        ran.append(threading.get_ident())
        assert may_end.wait(60)
        return JobOutcome()

    job, one = bench.create(), runner(work)
    answered = as_completed([threads.submit(one.run, job.name) for _ in range(4)], timeout=60)
    for _ in range(3):
        next(answered).result()
    may_end.set()
    next(answered).result()
    assert len(ran) == 1
    assert bench.jobs.get(job.name).state is JobState.SUCCEEDED


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
    bench.claim(running)
    for job in (old, running):
        folder = home / "jobs" / job.name.removeprefix("jobs/")
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    runner(lambda context, spec: JobOutcome()).run(bench.create().name)
    assert [path.name for path in (home / "jobs").iterdir()] == [running.name.removeprefix("jobs/")]
