"""What only the wire can show: requests in other shapes, watches, a server that stops."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from vermeil.job.v1 import job_pb2
from vermeil.job.v1.job_service_pb2 import (
    ClaimJobRequest,
    CreateJobRequest,
    FinishJobRequest,
    ListJobsRequest,
    WatchJobRequest,
)
from vermeil.job.v1.job_service_pb2_grpc import JobServiceStub
from vermeil_errors import InvalidInput, Unavailable
from vermeil_jobs import Claimed, GrpcJobs, JobState, MemoryJobs, NewJob, Spec
from vermeil_jobs.suite import Bench
from vermeil_registry.api import JobServicer
from vermeil_registry.threads import Threads
from vermeil_registry.watch import Watches
from vermeil_rpc import connect
from vermeil_rpc.testing import local_settings, running
from vermeil_telemetry import traceparent

from .conftest import Wire  # pants: no-infer-dep

SECONDS = 60


@pytest.fixture
def stub(address: str) -> Iterator[JobServiceStub]:
    with connect(address) as channel:
        yield JobServiceStub(channel)


def request(**changes: object) -> CreateJobRequest:
    values = {
        "kind": "a.b",
        "queue": "tester",
        "spec": Any(type_url="x/vermeil.X"),
        "request_id": "r1",
        **changes,
    }
    return CreateJobRequest(**values)  # type: ignore[arg-type]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_id": ""}, "request_id"),
        ({"kind": "A b"}, "kind"),
        ({"queue": ""}, "queue"),
        ({"spec": None}, "spec"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"after": ["models/x"]}, "after[0]"),
        ({"inputs": {"dataset": {"digest": "sha256:0"}}}, "inputs[dataset].digest"),
    ],
)
def test_a_wrong_request_names_its_field(
    stub: JobServiceStub, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        stub.CreateJob(request(**changes), timeout=SECONDS)
    assert refused.value.violations[0].field == field


def test_what_is_left_out_has_the_defaults_of_the_contract(stub: JobServiceStub) -> None:
    job = stub.CreateJob(request(), timeout=SECONDS).job
    assert job.max_attempts == 5
    claimed = stub.ClaimJob(ClaimJobRequest(name=job.name, worker="w"), timeout=SECONDS)
    assert (claimed.lease.end_time.ToDatetime() - claimed.job.start_time.ToDatetime()).total_seconds() == 10


def test_a_finish_must_say_how_it_ended(stub: JobServiceStub) -> None:
    job = stub.CreateJob(request(), timeout=SECONDS).job
    with pytest.raises(InvalidInput, match="outcome"):
        stub.FinishJob(FinishJobRequest(name=job.name, fence=1), timeout=SECONDS)


def test_a_state_of_the_future_is_refused(stub: JobServiceStub) -> None:
    with pytest.raises(InvalidInput, match="state"):
        stub.ListJobs(ListJobsRequest(state=42), timeout=SECONDS)  # type: ignore[arg-type]


def test_a_job_remembers_the_trace_it_was_asked_for_in(stub: JobServiceStub) -> None:
    trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"
    with traceparent(trace):
        job = stub.CreateJob(request(), timeout=SECONDS).job
    assert job.traceparent.split("-")[1] == trace.split("-")[1]


def test_a_watcher_that_goes_away_costs_nothing_more(wire: Wire, stub: JobServiceStub) -> None:
    job = stub.CreateJob(request(), timeout=SECONDS).job
    call = stub.WatchJob(WatchJobRequest(name=job.name), timeout=SECONDS)
    assert next(call).job.state == job_pb2.JOB_STATE_PENDING
    assert wire.ledger.changes.num_watchers == 1
    call.cancel()
    until(lambda: wire.ledger.changes.num_watchers == 0)


def test_a_claim_whose_worker_has_gone_before_the_answer_is_given_back() -> None:
    """By a database that takes longer than the worker waits."""
    ledger, threads = MemoryJobs(), Threads()
    job = ledger.create(NewJob("a.b", "tester", Spec("x/vermeil.X", b""), "r1"))
    claim, claimed, may_answer = ledger.claim, threading.Event(), threading.Event()

    def claim_slowly(name: str, **how: object) -> Claimed:
        given = claim(name, **how)  # type: ignore[arg-type]
        claimed.set()
        assert may_answer.wait(60)
        return given

    ledger.claim = claim_slowly  # type: ignore[method-assign,assignment]
    asked = ClaimJobRequest(name=job.name, worker="w", lease_duration=Duration(seconds=60))

    async def leave() -> None:
        servicer = JobServicer(ledger, threads, Watches(ledger, threads))
        context: object = None
        call = asyncio.create_task(servicer.ClaimJob(asked, context))  # type: ignore[arg-type]
        assert await asyncio.to_thread(claimed.wait, 60)
        call.cancel()
        await asyncio.wait([call])
        may_answer.set()
        async with asyncio.timeout(60):
            while ledger.get(job.name).state is not JobState.PENDING:
                await asyncio.sleep(0.01)

    asyncio.run(leave())
    threads.close()
    assert ledger.get(job.name).attempt == 0


def test_a_watcher_hears_of_changes_made_by_another_process(wire: Wire, wire_bench: Bench) -> None:
    job = wire_bench.create()
    seen = wire_bench.jobs.watch(job.name, timeout=SECONDS)
    next(seen)
    wire.ledger.changes.notify = lambda name: None  # type: ignore[method-assign]
    wire_bench.jobs.cancel(job.name)
    assert next(seen).state is JobState.CANCELLED


def test_a_server_that_stops_lets_its_watchers_go(wire: Wire) -> None:
    told: list[Exception] = []
    watching = threading.Event()

    def watch(address: str, name: str) -> None:
        with connect(address) as channel:
            call = JobServiceStub(channel).WatchJob(WatchJobRequest(name=name), timeout=60)
            next(call)
            watching.set()
            try:
                next(call)
            except Unavailable as error:
                told.append(error)

    with running(wire.services, settings=local_settings(rpc_grace_seconds=60)) as server:
        with connect(server.address) as channel:
            job = JobServiceStub(channel).CreateJob(request(), timeout=SECONDS).job
        watcher = threading.Thread(target=watch, args=(server.address, job.name))
        watcher.start()
        assert watching.wait(60)
    watcher.join(60)
    assert "watch again" in str(told[0])


def test_a_registry_that_cannot_be_reached_is_unavailable() -> None:
    with connect("127.0.0.1:1") as channel, pytest.raises(Unavailable):
        GrpcJobs(channel, timeout=30).get("jobs/x")
