"""Quotas and turns where several registries and workers race, over the wire, and by settings."""

from datetime import timedelta
from functools import partial

import pytest
from vermeil.job.v1 import quota_service_pb2 as wire
from vermeil.job.v1.job_service_pb2 import CreateJobRequest
from vermeil.job.v1.job_service_pb2_grpc import JobServiceStub
from vermeil.job.v1.quota_pb2 import QuotaLimits
from vermeil.job.v1.quota_service_pb2_grpc import QuotaServiceStub
from vermeil_errors import InvalidInput, QuotaExceeded
from vermeil_jobs import GrpcJobs, Job, JobOutcome, Ledger, Limits, Policy, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.bench import KIND
from vermeil_registry.settings import RegistrySettings
from vermeil_registry.storage import SqlStorage
from vermeil_rpc import connect
from vermeil_rpc.behalf import on_behalf_of

from .conftest import Databases, at_once  # pants: no-infer-dep

_ANN, _BOB = "owners/ann", "owners/bob"
_LONG = timedelta(hours=1)


@pytest.fixture(params=[True, False], ids=["own limits", "default limits"])
def ledgers(databases: Databases, request: pytest.FixtureRequest) -> list[Ledger]:
    """Four registries over one database, whose owners may have 2 jobs running and 6 waiting."""
    url, limits = databases.migrated_url(), Limits(2, 6)
    policy = Policy() if request.param else Policy(limits=limits)
    ledgers = [Ledger(SqlStorage(databases.open(url)), RecordingDoorbell(), policy=policy) for _ in range(4)]
    if request.param:
        ledgers[0].set_quota(_ANN, limits)
    return ledgers


def test_racing_registries_let_nobody_have_more_than_he_may(ledgers: list[Ledger]) -> None:
    bench = Bench(ledgers[0], None, None, None)  # type: ignore[arg-type]
    made = at_once(*(partial(ledger.create, bench.new(owner=_ANN)) for ledger in ledgers * 3))
    jobs = [job for job in made if isinstance(job, Job)]
    assert (len(jobs), sum(isinstance(each, QuotaExceeded) for each in made)) == (6, 6)
    other = bench.create(owner=_BOB)
    claims = at_once(
        *(partial(ledger.claim, job.name, worker="w", lease=_LONG) for ledger in ledgers for job in jobs)
    )
    assert sum(claim.lease is not None for claim in claims) == 2  # type: ignore[attr-defined]
    rung = partial(ledgers[1].claim, jobs[0].name, worker="w", lease=_LONG, kinds=[KIND])
    claims = at_once(rung, rung, rung)
    assert [claim.job.name for claim in claims if claim.lease] == [other.name]  # type: ignore[attr-defined]
    quotas, _ = ledgers[2].list_quotas()
    assert [(quota.num_running, quota.num_waiting) for quota in quotas] == [(2, 4), (1, 0)]


def test_racing_workers_are_each_handed_another_job_and_do_all_of_them(databases: Databases) -> None:
    url = databases.migrated_url()
    ledgers = [Ledger(SqlStorage(databases.open(url)), RecordingDoorbell()) for _ in range(3)]
    bench = Bench(ledgers[0], None, None, None)  # type: ignore[arg-type]
    jobs = [bench.create(owner=owner) for owner in (_ANN, _BOB) for _ in range(6)]

    def work(ledger: Ledger) -> list[str]:
        done = []
        for _ in range(len(jobs)):
            claimed = ledger.claim(jobs[0].name, worker="w", lease=_LONG, kinds=[KIND])
            if claimed.lease is not None:
                done.append(claimed.job.name)
                ledger.finish(claimed.job.name, fence=claimed.lease.fence, outcome=JobOutcome())
        return done

    given = at_once(*(partial(work, ledger) for ledger in ledgers))
    assert sorted(name for each in given for name in each) == sorted(  # type: ignore[attr-defined]
        job.name for job in jobs
    )


def test_quotas_are_set_read_and_taken_away_over_the_wire(address: str) -> None:
    with connect(address) as channel:
        quotas = QuotaServiceStub(channel)
        limits = QuotaLimits(max_running=2, max_waiting=1)
        made = quotas.SetQuota(wire.SetQuotaRequest(owner=_ANN, limits=limits), timeout=60).quota
        assert (made.limits, made.is_default) == (limits, False)
        with pytest.raises(InvalidInput, match="max_running"):
            quotas.SetQuota(wire.SetQuotaRequest(owner=_ANN, limits=QuotaLimits(max_running=-1)), timeout=60)
        assert quotas.GetQuota(wire.GetQuotaRequest(owner=_ANN), timeout=60).quota == made
        assert list(quotas.ListQuotas(wire.ListQuotasRequest(), timeout=60).quotas) == [made]
        gone = quotas.ResetQuota(wire.ResetQuotaRequest(owner=_ANN), timeout=60).quota
        assert (gone.limits, gone.is_default) == (QuotaLimits(), True)


def test_a_refusal_keeps_its_reason_over_the_wire(address: str, wire_bench: Bench) -> None:
    wire_bench.ledger.set_quota(_ANN, Limits(max_waiting=1))
    with connect(address) as channel, on_behalf_of(_ANN):
        assert GrpcJobs(channel, timeout=60).create(wire_bench.new()).owner == _ANN
        with pytest.raises(QuotaExceeded, match="owners/ann has 1 jobs waiting"):
            GrpcJobs(channel, timeout=60).create(wire_bench.new())
        with pytest.raises(InvalidInput, match="priority"):
            JobServiceStub(channel).CreateJob(
                CreateJobRequest(
                    kind=KIND,
                    queue="tester",
                    spec={"type_url": "t/x.Y"},
                    request_id="r",
                    priority=9,  # type: ignore[arg-type]
                ),
                timeout=10,
            )


def test_nobody_is_bounded_unless_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RegistrySettings.load()
    assert (settings.quota_max_running, settings.quota_max_waiting) == (0, 0)
    monkeypatch.setenv("VERMEIL_QUOTA_MAX_RUNNING", "3")
    assert RegistrySettings.load().quota_max_running == 3
