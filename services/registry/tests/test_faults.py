"""Processes are killed, frozen and told to go; jobs come to their end, and take effect once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int32Value
from vermeil.registry.v1 import registry_service_pb2 as wire
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from vermeil_errors import Unavailable, VermeilError
from vermeil_jobs import CeleryDoorbell, GrpcJobs, Job, JobState, NewJob, Spec, make_app
from vermeil_registry import __main__ as registry_main
from vermeil_rpc import connect
from vermeil_testing import free_port, rabbitmq, redis

from . import rude_worker
from .rude_worker import KIND, MODEL, QUEUE

WORKER = Path(rude_worker.__file__)
LONG, SHORT = 3600.0, 10.0
"""Seconds of a lease: nobody loses it by standing still; the next worker need not wait long for its end."""


class Town:
    """A registry, some workers, and the means to be unkind to them."""

    def __init__(self, home: Path, compiled: Path, broker: str = "") -> None:
        self.home = home
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONPYCACHEPREFIX": str(compiled)}
        self.environment = {**os.environ, **paths}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.broker = broker or f"filesystem://{home}/broker"
        self.address = f"127.0.0.1:{free_port()}"
        self.channel: grpc.Channel = connect(self.address)
        self.jobs = GrpcJobs(self.channel, timeout=60)
        self.workers: list[subprocess.Popen[bytes]] = []
        self._may_end = home / "may-end"
        self._may_end.touch()
        self.registry = self.start_registry()

    def start_registry(self) -> subprocess.Popen[bytes]:
        environment = {
            **self.environment,
            "VERMEIL_HOME": str(self.home),
            "VERMEIL_BIND": self.address,
            "VERMEIL_BROKER_URL": self.broker,
            "VERMEIL_LOG_LEVEL": "WARNING",
        }
        self.registry = subprocess.Popen([sys.executable, "-m", registry_main.__name__], env=environment)
        return self.registry

    def start_worker(self, lease: float = LONG) -> subprocess.Popen[bytes]:
        """A worker on a machine of its own: same broker, another home."""
        home = self.home / f"machine-{len(self.workers)}"
        return self._start_worker(home, lease)

    def start_worker_here(self, lease: float = LONG) -> subprocess.Popen[bytes]:
        """A worker on the one machine."""
        return self._start_worker(self.home, lease)

    def _start_worker(self, home: Path, lease: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(WORKER), self.address, self.broker, str(home)]
        given = [str(self._may_end), str(lease)]
        with self._log(len(self.workers)).open("wb") as log:
            worker = subprocess.Popen([*command, *given], env=self.environment, stdout=log, stderr=log)
        self.workers.append(worker)
        return worker

    def _log(self, number: int) -> Path:
        return self.home / f"worker-{number}.log"

    def said(self, worker: int) -> str:
        """What a worker has logged, by its process id."""
        return self._log([each.pid for each in self.workers].index(worker)).read_text()

    def hold(self) -> None:
        """From now on no work comes to its end."""
        self._may_end.unlink()

    def let_end(self) -> None:
        """From now on work ends when it is done."""
        self._may_end.touch()

    def wait_for_registry(self) -> None:
        def answers() -> bool:
            try:
                self.jobs.list_jobs(page_size=1)
            except VermeilError:
                return False
            return True

        until(answers)

    def count(self, steps: int, request_id: str = "r1") -> Job:
        spec = Spec.pack(Int32Value(value=steps))
        return self.jobs.create(NewJob(KIND, QUEUE, spec, request_id))

    def holder(self, job: Job, *, at_least: int = 1, attempt: int = 1) -> int:
        """Process id of the living worker that has come so far with the job."""
        found: list[int] = []

        def has_come_far() -> bool:
            now = self.jobs.get(job.name)
            living = {str(worker.pid): worker.pid for worker in self.workers if worker.poll() is None}
            if now.attempt == attempt and now.progress.done >= at_least and now.progress.message in living:
                found.append(living[now.progress.message])  # and not of one before, whose word still stands
            return bool(found)

        until(has_come_far)
        return found[0]

    def kill_worker(self, pid: int) -> None:
        """Once it is dead, nobody takes it for living."""
        (worker,) = (each for each in self.workers if each.pid == pid)
        worker.kill()
        worker.wait()

    def end(self, job: Job) -> Job:
        *_, last = self.jobs.watch(job.name, timeout=240)
        return last

    def versions(self) -> list[str]:
        request = wire.ListModelVersionsRequest(model=MODEL)
        answer = RegistryServiceStub(self.channel).ListModelVersions(request, timeout=60)
        return [version.name for version in answer.versions]

    def close(self) -> None:
        for process in (*self.workers, self.registry):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.channel.close()
        for number, _ in enumerate(self.workers):
            sys.stdout.write(f"worker {number}:\n{self._log(number).read_text()}\n")


def until(condition: Callable[[], object], *, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte code for all processes of the session: the second one starts in a second."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def town(tmp_path: Path, compiled: Path, request: pytest.FixtureRequest) -> Iterator[Town]:
    """On the broker in a folder, or on the server that a test asks for."""
    start = getattr(request, "param", None)
    town = Town(tmp_path, compiled, start().url if start else "")
    try:
        town.wait_for_registry()
        yield town
    finally:
        town.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "town", [None, redis, rabbitmq], ids=["filesystem", "redis", "rabbitmq"], indirect=True
)
def test_a_worker_killed_at_three_random_moments_costs_attempts_and_no_effect(town: Town) -> None:
    for _ in range(4):
        town.start_worker_here(SHORT)
    town.hold()
    job = town.count(400)
    for attempt in (1, 2, 3):
        holder = town.holder(job, at_least=100 * (attempt - 1) + 1, attempt=attempt)
        time.sleep(random.uniform(0, 0.6))
        town.kill_worker(holder)
    town.let_end()
    done = town.end(job)
    assert done.state is JobState.SUCCEEDED
    assert done.attempt == 4
    assert done.result["steps"] == 400
    assert done.result["resumed_at"] > 0  # type: ignore[operator]
    assert town.versions() == [f"{MODEL}/versions/1"]
    log = [line.text for line in town.jobs.list_logs(job.name).lines]
    assert sum("vanished" in line for line in log) == 3


@pytest.mark.slow
def test_a_registry_killed_under_the_work_costs_nothing(town: Town) -> None:
    town.start_worker()
    town.hold()
    job = town.count(500)
    worker = town.holder(job)
    watching = town.jobs.watch(job.name, timeout=500)
    next(watching)
    town.registry.kill()
    town.registry.wait()
    until(lambda: "no heartbeat" in town.said(worker))
    town.start_registry()
    town.wait_for_registry()
    town.let_end()
    *_, done = watching
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)
    assert town.versions() == [f"{MODEL}/versions/1"]


@pytest.mark.slow
@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_stop_hands_its_job_on_at_no_cost(town: Town, word: signal.Signals) -> None:
    workers = {worker.pid: worker for worker in (town.start_worker_here(), town.start_worker_here())}
    town.hold()
    job = town.count(500)
    first = town.holder(job)
    workers[first].send_signal(word)
    assert workers[first].wait(120) == 0
    town.let_end()
    done = town.end(job)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)
    assert done.result["resumed_at"] > 0  # type: ignore[operator]


@pytest.mark.slow
def test_a_frozen_worker_that_wakes_late_changes_nothing(town: Town) -> None:
    for _ in range(2):
        town.start_worker(SHORT)
    town.hold()
    job = town.count(300)
    zombie = town.holder(job)
    os.kill(zombie, signal.SIGSTOP)
    town.holder(job, attempt=2)
    town.let_end()
    done = town.end(job)
    os.kill(zombie, signal.SIGCONT)
    until(lambda: "put down a job" in town.said(zombie))
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    assert town.jobs.get(job.name) == done
    assert town.versions() == [f"{MODEL}/versions/1"]


@pytest.mark.slow
def test_lost_and_doubled_doorbells_change_nothing(town: Town) -> None:
    lost = town.count(3, "lost")
    until(lambda: list((town.home / "broker").glob("*.msg")))
    for message in (town.home / "broker").glob("*.msg"):
        message.unlink()
    bell = CeleryDoorbell(make_app(town.broker, town.home))
    doubled = town.count(3, "doubled")
    for _ in range(20):
        bell.ring(doubled)
    for _ in range(2):
        town.start_worker()
    ends = [town.end(job) for job in (lost, doubled)]
    assert [(end.state, end.attempt) for end in ends] == [(JobState.SUCCEEDED, 1)] * 2
    assert len(town.versions()) == 2


@pytest.mark.slow
def test_two_workers_share_many_jobs_each_done_once(town: Town) -> None:
    for _ in range(2):
        town.start_worker()
    jobs = [town.count(1, f"r{number}") for number in range(40)]
    ends = [town.end(job) for job in jobs]
    assert {end.state for end in ends} == {JobState.SUCCEEDED}
    assert sorted(str(end.result["model_version"]) for end in ends) == sorted(town.versions())
    assert len(town.versions()) == 40


def test_a_cancelled_job_stops_in_another_process(town: Town) -> None:
    town.start_worker()
    job = town.count(100_000)
    town.holder(job)
    town.jobs.cancel(job.name)
    assert town.end(job).state is JobState.CANCELLED


def test_a_registry_told_to_stop_ends_in_good_order(town: Town) -> None:
    town.count(3)
    town.registry.terminate()
    assert town.registry.wait(120) == 0
    with pytest.raises(Unavailable):
        town.jobs.get("jobs/x")
