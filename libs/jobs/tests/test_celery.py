"""Jobs through a real Celery worker on every broker: folder, Redis, RabbitMQ."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from celery.contrib.testing.worker import start_worker
from google.protobuf.wrappers_pb2 import StringValue
from vermeil.ingest.v1 import ingest_service_pb2
from vermeil_errors import InvalidInput, Unavailable
from vermeil_jobs import (
    CeleryDoorbell,
    JobContext,
    JobKind,
    JobOutcome,
    JobsApp,
    JobState,
    MemoryJobs,
    NewJob,
    Priority,
    Spec,
    make_app,
    register,
)
from vermeil_jobs.suite.bench import KIND, QUEUE
from vermeil_testing import RabbitMQ, Redis, rabbitmq, redis

StartIngestRequest = ingest_service_pb2.StartIngestRequest
LONG = timedelta(hours=1)
"""A lease that no heartbeat need keep: what is rung again meanwhile is held, however slow its worker is."""


@pytest.fixture(params=[None, redis, rabbitmq], ids=["filesystem", "redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Redis | RabbitMQ | None:
    """The broker's server; the folder has none."""
    start: Callable[[], Redis | RabbitMQ] | None = request.param
    return start() if start else None


@pytest.fixture
def app(server: Redis | RabbitMQ | None, home: Path) -> JobsApp:
    app = make_app(server.url if server else "filesystem://", home)
    with app.connection() as connection:
        connection.default_channel.queue_delete(QUEUE)  # of the test before
    return app


@pytest.fixture
def bell(app: JobsApp) -> Iterator[CeleryDoorbell]:
    bell = CeleryDoorbell(app)
    yield bell
    bell.close()


@pytest.fixture
def jobs(bell: CeleryDoorbell) -> MemoryJobs:
    return MemoryJobs(bell)


@contextmanager
def working(app: JobsApp, pool: str = "threads") -> Iterator[None]:
    with start_worker(
        app,
        pool=pool,
        concurrency=2,
        queues=[QUEUE],
        perform_ping_check=False,
        shutdown_timeout=240,  # it may be waiting to try the broker again
        loglevel="ERROR",
    ):
        yield


def kind(
    work: Callable[[JobContext, StringValue], JobOutcome],
    submit: Callable[[StartIngestRequest], object] = lambda _request: None,
) -> JobKind[StartIngestRequest, StringValue]:
    return JobKind(KIND, QUEUE, StartIngestRequest, StringValue, submit, work)


def new(request_id: str) -> NewJob:
    return NewJob(KIND, QUEUE, Spec.pack(StringValue(value="test")), request_id)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_rung_job_is_done(app: JobsApp, jobs: MemoryJobs, pool: str) -> None:
    register(app, kind(lambda context, spec: JobOutcome(result={"said": spec.value})), jobs)
    with working(app, pool):
        names = [jobs.create(new(f"request-{number}")).name for number in range(3)]
        for name in names:
            *_, done = jobs.watch(name, timeout=60)
            assert done.result == {"said": "test"}


def test_two_jobs_are_done_side_by_side(app: JobsApp, jobs: MemoryJobs) -> None:
    meeting = threading.Barrier(2)

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        meeting.wait(60)
        return JobOutcome()

    register(app, kind(work), jobs)
    with working(app):
        names = [jobs.create(new(f"request-{number}")).name for number in range(2)]
        assert [list(jobs.watch(name, timeout=60))[-1].state for name in names] == [JobState.SUCCEEDED] * 2


def test_whatever_rings_first_the_job_whose_turn_it_is_goes_first_of_all_kinds_of_the_queue(
    app: JobsApp, jobs: MemoryJobs
) -> None:
    all_wait, done = threading.Event(), []

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        assert done or all_wait.wait(60)
        done.append(context.job.request_id)
        return JobOutcome()

    kinds = [KIND, "vermeil.tester.v1.other"]
    for name in kinds:
        register(app, replace(kind(work), name=name), jobs)
    with working(app, "solo"):
        first = jobs.create(new("first"))
        wait_for(lambda: jobs.get(first.name).state is JobState.RUNNING)
        waiting = [
            jobs.create(replace(new(priority.value), kind=name, priority=priority))
            for priority, name in zip(Priority, kinds * 2, strict=False)
        ]
        all_wait.set()
        for job in waiting:
            list(jobs.watch(job.name, timeout=60))
    assert done == ["first", "HIGH", "NORMAL", "LOW"]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_job_is_cancelled_while_it_runs(app: JobsApp, jobs: MemoryJobs, pool: str) -> None:
    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        while True:
            context.check()
            time.sleep(0.01)

    register(app, kind(work), jobs)
    with working(app, pool):
        job = jobs.create(new("request-1"))
        seen = jobs.watch(job.name, timeout=60)
        while next(seen).state is not JobState.RUNNING:
            pass
        jobs.cancel(job.name)
        assert list(seen)[-1].state is JobState.CANCELLED


def test_a_request_sent_as_a_task_submits_the_job_the_rpc_would(app: JobsApp, jobs: MemoryJobs) -> None:
    submitted: list[str] = []

    def submit(request: StartIngestRequest) -> None:
        spec = Spec.pack(StringValue(value=request.spec.dataset))
        submitted.append(jobs.create(NewJob(KIND, QUEUE, spec, request.request_id)).name)

    register(app, kind(lambda context, spec: JobOutcome(result={"said": spec.value}), submit), jobs)
    payload = {"spec": {"dataset": "datasets/pages"}, "requestId": "mine"}
    with working(app):
        for _ in range(2):
            app.send_task(KIND, args=[payload], queue=QUEUE)
        wait_for(lambda: len(submitted) == 2)
        *_, done = jobs.watch(submitted[0], timeout=60)
    assert done.request_id == "mine"
    assert done.result == {"said": "datasets/pages"}
    assert len(jobs.list_jobs().jobs) == 1


def test_a_request_without_an_id_is_known_by_its_task(app: JobsApp) -> None:
    given: list[StartIngestRequest] = []
    register(app, kind(lambda context, spec: JobOutcome(), given.append), MemoryJobs())
    with working(app):
        sent = app.send_task(KIND, args=[{"spec": {"dataset": "datasets/pages"}}], queue=QUEUE)
        (request,) = wait_for(lambda: given)
    assert request.request_id == sent.id


def test_nonsense_is_dropped_and_the_worker_goes_on(app: JobsApp, jobs: MemoryJobs) -> None:
    def submit(request: StartIngestRequest) -> None:
        raise InvalidInput("nothing to ingest")

    register(app, kind(lambda context, spec: JobOutcome(), submit), jobs)
    with working(app):
        for payload in (
            "text",
            {"job": "jobs/nobody"},
            {"job": "../.."},
            {"unknown": 1},
            {"request_id": "x"},
        ):
            app.send_task(KIND, args=[payload], queue=QUEUE)
        *_, done = jobs.watch(jobs.create(new("request-1")).name, timeout=60)
    assert done.state is JobState.SUCCEEDED


def test_a_submission_waits_for_a_registry_that_is_away(app: JobsApp, jobs: MemoryJobs) -> None:
    attempts = []

    def submit(request: StartIngestRequest) -> None:
        attempts.append(request)
        if len(attempts) == 1:
            raise Unavailable("the registry is away")

    register(app, kind(lambda context, spec: JobOutcome(), submit), jobs)
    with working(app):
        app.send_task(KIND, args=[{"spec": {"dataset": "datasets/pages"}}], queue=QUEUE)
        wait_for(lambda: len(attempts) == 2)


# Celery warns whenever it loses a connection that it used to cancel tasks then.
@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")
@pytest.mark.slow
def test_a_broker_killed_in_the_middle_costs_time_and_no_job(
    server: Redis | RabbitMQ | None, app: JobsApp, jobs: MemoryJobs
) -> None:
    if server is None:
        pytest.skip("a folder has no server to kill")
    started, may_end = threading.Event(), threading.Event()
    times: list[str] = []

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        times.append(context.job.name)
        started.set()
        assert may_end.wait(500)
        return JobOutcome()

    def all_are_done() -> bool:
        jobs.sweep()
        return all(jobs.get(name).state is JobState.SUCCEEDED for name in names)

    register(app, kind(work), jobs, lease=LONG)
    with working(app):
        names = [jobs.create(new("running")).name]
        assert started.wait(60)
        server.kill()
        names.append(jobs.create(new("while-it-is-away")).name)
        server.start()
        may_end.set()
        names.append(jobs.create(new("when-it-is-back")).name)
        wait_for(all_are_done, seconds=250)
    assert sorted(times) == sorted(names)
    assert {jobs.get(name).attempt for name in names} == {1}


@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")
@pytest.mark.slow
def test_a_worker_looks_for_its_broker_for_as_long_as_it_is_away(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it goes deaf after a hundred tries, 48 minutes, and ends with its last job."""
    broker = Redis()
    broker.start()
    app = make_app(broker.url, home)
    bell = CeleryDoorbell(app)
    jobs = MemoryJobs(bell)
    register(app, kind(lambda context, spec: JobOutcome()), jobs)
    with start_worker(
        app,
        pool="threads",
        queues=[QUEUE],
        perform_ping_check=False,
        shutdown_timeout=240,
        loglevel="CRITICAL",
    ) as worker:
        monkeypatch.setattr("kombu.utils.functional.sleep", lambda _seconds: None)
        broker.kill()
        wait_for(lambda: worker.consumer.broker_connection_retry_attempt > 100)
        broker.start()
        *_, done = jobs.watch(jobs.create(new("when-it-is-back")).name, timeout=60)
    assert done.state is JobState.SUCCEEDED
    bell.close()
    broker.close()


class ImpatientRabbitMQ(RabbitMQ):
    """Takes a message back after a second and closes the channel; by default after half an hour."""

    def environment(self) -> Mapping[str, str]:
        given = super().environment()
        own = "-rabbit consumer_timeout 1000 -rabbit channel_tick_interval 500"
        name = "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"
        return {**given, name: f"{given[name]} {own}"}


@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")
@pytest.mark.slow
def test_a_job_that_rabbitmq_finds_too_long_is_done_once_and_so_are_those_after_it(home: Path) -> None:
    """By default a worker ends with the channel that RabbitMQ closes, and waits for its jobs until then."""
    broker = ImpatientRabbitMQ()
    broker.start()
    logs = broker.folder / "logs"
    app = make_app(broker.url, home)
    bell = CeleryDoorbell(app)
    jobs = MemoryJobs(bell)
    names: list[str] = []

    def work(context: JobContext, spec: StringValue) -> JobOutcome:
        names.append(context.job.name)
        if context.job.request_id == "long":
            wait_for(lambda: len(names) > 1, seconds=400)
        return JobOutcome()

    register(app, kind(work), jobs, lease=LONG)
    with working(app):
        long = jobs.create(new("long"))
        wait_for(lambda: names == [long.name])
        wait_for(lambda: any("acknowledgement on channel" in log.read_text() for log in logs.glob("*.log")))
        after = jobs.create(new("after"))
        *_, done = jobs.watch(long.name, timeout=250)
    assert (done.state, names) == (JobState.SUCCEEDED, [long.name, after.name])
    bell.close()
    broker.close()


def test_a_broker_that_freezes_counts_as_away_until_it_wakes(
    server: Redis | RabbitMQ | None, bell: CeleryDoorbell
) -> None:
    if server is None:
        pytest.skip("a folder has no server to freeze")
    job = MemoryJobs().create(new("request-1"))

    def rings() -> bool:
        with suppress(Unavailable):
            bell.ring(job)
            return True
        return False

    wait_for(rings)
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            bell.ring(job)
    finally:
        server.signal(signal.SIGCONT)
    wait_for(rings)


def test_an_unknown_broker_is_refused_by_name(home: Path) -> None:
    with pytest.raises(InvalidInput, match="VERMEIL_BROKER_URL"):
        make_app("kafka://somewhere", home)


def test_nothing_is_ever_unpickled(app: JobsApp) -> None:
    assert list(app.conf.accept_content) == ["json"]
    assert app.conf.result_backend is None


def test_threads_that_do_the_work_leave_the_connection_to_the_event_loop(app: JobsApp) -> None:
    assert app.conf.worker_enable_prefetch_count_reduction is False


def test_redis_is_told_to_restore_what_is_not_acknowledged(home: Path) -> None:
    options = make_app("redis://localhost", home).conf.broker_transport_options
    assert options["unacked_restore_interval"] == 1
    assert options["unacked_restore_throttle"] == 1


def wait_for(look: Callable[[], object], *, seconds: float = 60):  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found
