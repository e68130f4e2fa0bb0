"""The registry as it is started: settings, doorbells, sweeper, health."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY
from vermeil_errors import InvalidInput, Unavailable
from vermeil_jobs import (
    GrpcJobs,
    Job,
    JobOutcome,
    JobState,
    Ledger,
    ManualClock,
    MemoryJobs,
    NewJob,
    RecordingDoorbell,
    Spec,
    make_app,
)
from vermeil_jobs.job import utc_now
from vermeil_registry.clock import SteadyClock
from vermeil_registry.database import Database
from vermeil_registry.migrate import migrate
from vermeil_registry.settings import RegistrySettings
from vermeil_registry.storage import SqlStorage
from vermeil_registry.sweeper import Sweeper
from vermeil_registry.wiring import build
from vermeil_rpc import connect
from vermeil_rpc.testing import running
from vermeil_testing import Redis, postgres
from vermeil_testing.server import ask


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistrySettings:
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    return RegistrySettings.load(sweep_seconds=0.05)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """By which the registries of a test go; it moves when told to."""
    clock = ManualClock()

    def seconds() -> float:
        return clock.now.timestamp()

    by_hand = partial(SteadyClock, wall=clock, steady=seconds)
    monkeypatch.setattr("vermeil_registry.wiring.SteadyClock", by_hand)
    return clock


def new(request_id: str = "r1") -> NewJob:
    return NewJob("a.b", "tester", Spec.pack(StringValue()), request_id)


def wait_for(count: int, doorbell: RecordingDoorbell) -> list[str]:
    end = time.monotonic() + 60
    while len(doorbell.rung) < count:
        assert time.monotonic() < end, doorbell.rung
        time.sleep(0.01)
    return doorbell.take()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def has_answered(jobs: GrpcJobs, name: str) -> bool:
    try:
        jobs.get(name)
    except Unavailable:
        return False
    return True


def test_everything_lives_under_one_home(settings: RegistrySettings) -> None:
    with running(lambda: build(settings)) as server, connect(server.address) as channel:
        GrpcJobs(channel, timeout=60).create(new())
    assert {path.name for path in settings.home.iterdir()} >= {"broker", "registry.db"}
    assert settings.database_url == f"sqlite:///{settings.home}/registry.db"


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"VERMEIL_HOME.*cannot be made"):
        build(RegistrySettings.load(home=tmp_path / "file" / "home"))


def test_a_new_job_rings_the_queue_it_names(settings: RegistrySettings) -> None:
    with running(lambda: build(settings)) as server, connect(server.address) as channel:
        job = GrpcJobs(channel, timeout=60).create(new())
        app = make_app(settings.broker_url, settings.home)
        with app.connection() as broker:
            queue = broker.SimpleQueue("tester")
            wait_until(lambda: queue.qsize() == 1)
            message = queue.get(block=False)
    assert message.headers["task"] == "a.b"
    assert message.headers["request_id"] == "r1"
    assert message.headers["traceparent"] == job.traceparent
    assert message.payload[0] == [{"job": job.name}]


def test_a_registry_that_is_given_a_doorbell_needs_no_broker(settings: RegistrySettings) -> None:
    build(settings.model_copy(update={"broker_url": "smoke://signals"}), doorbell=RecordingDoorbell())
    with pytest.raises(InvalidInput, match="VERMEIL_BROKER_URL"):
        build(settings.model_copy(update={"broker_url": "smoke://signals"}))


def test_how_long_the_queues_are_is_told_and_that_they_are_empty_again(
    settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermeil_registry.gauges._SECONDS", 0.0)

    def told() -> list[float | None]:
        labels = ({"queue": "tester", "state": state} for state in ("running", "ready", "held"))
        return [REGISTRY.get_sample_value("vermeil_queue_jobs", each) for each in labels]

    with running(lambda: build(settings, doorbell=RecordingDoorbell())) as server:
        jobs = GrpcJobs.connect(server.address, timeout=60)
        first, second = (jobs.create(new(f"r{number}")) for number in (1, 2))
        jobs.create(replace(new("r3"), after=(second.name,)))
        assert jobs.claim(first.name, worker="w", lease=timedelta(hours=1)).lease is not None
        wait_until(lambda: told() == [1, 1, 1])
        jobs.cancel(second.name)
        lease = jobs.claim(first.name, worker="w").lease
        assert lease is None
        jobs.finish(first.name, fence=1, outcome=JobOutcome())
        wait_until(lambda: told() == [0, 0, 0])


def test_a_registry_that_has_ended_leaves_neither_a_connection_nor_a_thread(
    settings: RegistrySettings,
) -> None:
    broker = Redis()
    broker.start()
    there = set(threading.enumerate())

    def others() -> int:
        return ask(broker.port, b"CLIENT LIST\r\n").count(b" addr=") - 1

    wait_until(lambda: others() == 0)
    services = build(settings.model_copy(update={"broker_url": broker.url}))
    with running(services) as server, connect(server.address) as channel:
        GrpcJobs(channel, timeout=60).create(new())
        wait_until(lambda: others() > 0)
    wait_until(lambda: others() == 0)
    left = {each.name for each in set(threading.enumerate()) - there}
    assert not [name for name in left if name.startswith("registry")]
    assert services, "kept until here, so that nothing was closed only because nobody knew it any more"
    broker.close()


def test_jobs_are_there_again_after_a_restart_and_are_rung_for(settings: RegistrySettings) -> None:
    bell = RecordingDoorbell()
    bell.broken = True
    with running(lambda: build(settings, doorbell=bell)) as server, connect(server.address) as channel:
        job = GrpcJobs(channel, timeout=60).create(new())
    bell = RecordingDoorbell()
    with running(lambda: build(settings, doorbell=bell)) as server, connect(server.address) as channel:
        assert GrpcJobs(channel, timeout=60).get(job.name) == job
        assert set(wait_for(1, bell)) == {job.name}


def test_a_registry_that_comes_back_gives_workers_time_to_be_heard(
    settings: RegistrySettings, clock: ManualClock
) -> None:
    bell = RecordingDoorbell()
    with running(lambda: build(settings, doorbell=bell)) as server, connect(server.address) as channel:
        jobs = GrpcJobs(channel, timeout=60)
        job = jobs.create(new())
        lease = jobs.claim(job.name, worker="w").lease
    clock.advance(11)
    with running(lambda: build(settings, doorbell=bell)) as server, connect(server.address) as channel:
        jobs = GrpcJobs(channel, timeout=60)
        assert jobs.claim(job.name, worker="eager").lease is None
        assert lease is not None
        assert jobs.finish(job.name, fence=lease.fence, outcome=JobOutcome()).state is JobState.SUCCEEDED


def test_a_database_that_goes_away_and_comes_back_costs_no_attempt(
    settings: RegistrySettings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed, is_back = threading.Event(), threading.Event()

    class Late(Ledger):
        """Whose sweep comes after those who claim."""

        def sweep(self) -> int:
            if missed.is_set():
                is_back.wait(60)
            try:
                return super().sweep()
            except Unavailable:
                missed.set()
                raise

    monkeypatch.setattr("vermeil_registry.wiring.Ledger", Late)
    server = postgres()
    settings = settings.model_copy(update={"database_url": server.new_database()})
    bell = RecordingDoorbell()
    with running(lambda: build(settings, doorbell=bell)) as registry, connect(registry.address) as channel:
        jobs = GrpcJobs(channel, timeout=60)
        job = jobs.create(new())
        lease = jobs.claim(job.name, worker="w").lease
        assert lease is not None
        server.kill()
        try:
            with pytest.raises(Unavailable):
                jobs.heartbeat(job.name, fence=lease.fence)
            clock.advance(11)
            assert missed.wait(60)
        finally:
            server.start()
        wait_until(lambda: has_answered(jobs, job.name))
        assert jobs.claim(job.name, worker="eager").lease is None
        is_back.set()
        done = jobs.finish(job.name, fence=lease.fence, outcome=JobOutcome())
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)


def test_a_clock_that_is_set_under_a_registry_ends_no_job_and_is_followed(
    settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = ManualClock()
    monkeypatch.setattr("vermeil_registry.wiring.SteadyClock", partial(SteadyClock, wall=wall))
    with running(lambda: build(settings, doorbell=RecordingDoorbell())) as server:
        jobs = GrpcJobs.connect(server.address, timeout=60)
        job = jobs.create(replace(new(), max_attempts=1))
        lease = jobs.claim(job.name, worker="w", lease=timedelta(minutes=10)).lease
        wall.advance(3600)
        numbers = count()
        # Far from the real time: it is by this clock that the registry goes.
        wait_until(
            lambda: (
                abs(jobs.create(new(f"later-{next(numbers)}")).create_time - wall.now) < timedelta(minutes=1)
            )
        )
        assert lease is not None
        done = jobs.finish(job.name, fence=lease.fence, outcome=JobOutcome())
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)


def test_both_services_report_health_of_their_own(settings: RegistrySettings) -> None:
    with running(lambda: build(settings)) as server, grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("vermeil.job.v1.JobService", "vermeil.registry.v1.RegistryService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


class SlowBell(RecordingDoorbell):
    """Takes its time to find out that the broker is away, like a network would."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = True
        self.is_ringing, self.finds_out = threading.Event(), threading.Event()
        self.num_tries = 0

    def ring(self, job: Job) -> None:
        self.num_tries += 1
        self.is_ringing.set()
        assert self.finds_out.wait(60)
        super().ring(job)


def test_nobody_waits_for_a_broker_that_is_away(settings: RegistrySettings) -> None:
    bell = SlowBell()
    with running(lambda: build(settings, doorbell=bell)) as server, connect(server.address) as channel:
        jobs = GrpcJobs(channel, timeout=60)
        names = [jobs.create(new("r")).name]
        assert bell.is_ringing.wait(60)
        names += [jobs.create(new(f"r{number}")).name for number in range(20)]
        bell.finds_out.set()
        wait_until(lambda: bell.num_tries > 1)
        bell.broken = False
        wait_until(lambda: set(bell.rung) == set(names))


def test_a_sweep_that_breaks_is_tried_again() -> None:
    sweeps = []

    def sweep() -> int:
        sweeps.append(1)
        raise Unavailable("the database is away")

    sweeper = Sweeper(RecordingDoorbell(), interval=0.01)
    sweeper.start(sweep, lambda: None)
    wait_until(lambda: len(sweeps) > 2)
    sweeper.stop()


def test_who_waits_is_recalled_once_when_the_broker_is_back_and_the_database_too() -> None:
    job = MemoryJobs().create(new())
    bell = SlowBell()
    bell.finds_out.set()
    recalled: list[list[str]] = []
    sweeps: list[int] = []

    def recall() -> None:
        recalled.append(bell.take())
        if len(recalled) == 1:
            raise Unavailable("the database is away")

    sweeper = Sweeper(bell, interval=0.01)
    sweeper.start(lambda: sweeps.append(1), recall)
    sweeper.ring(job)
    wait_until(lambda: bell.num_tries > 2)
    assert not recalled
    bell.broken = False
    wait_until(lambda: len(recalled) == 2)
    enough = len(sweeps) + 20
    wait_until(lambda: len(sweeps) > enough)
    sweeper.stop()
    assert recalled == [[job.name]] * 2
    assert bell.rung == []


def test_who_was_rung_for_in_vain_is_rung_for_at_once_when_the_registry_starts(
    settings: RegistrySettings,
) -> None:
    """Its last ring may have been lost with the queue, and its next be minutes away."""
    settings.home.mkdir()
    database = Database(settings.database_url)
    migrate(database)
    clock = ManualClock()
    clock.now = utc_now()
    ledger = Ledger(SqlStorage(database), RecordingDoorbell(), clock=clock)
    job = ledger.create(new())
    for _ in range(10):
        clock.advance(300)
        assert ledger.sweep() == 1
    database.close()
    bell = RecordingDoorbell()
    with running(lambda: build(settings, doorbell=bell)):
        assert set(wait_for(1, bell)) == {job.name}
