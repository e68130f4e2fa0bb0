"""What quotas and priorities promise: who may wait, who may run, and who goes first."""

import pytest
from vermeil_errors import InvalidInput, NotFound, QuotaExceeded

from vermeil_jobs.job import Job, JobOutcome, JobState, Priority
from vermeil_jobs.limits import Limits
from vermeil_jobs.suite.bench import KIND, LEASE, Bench, failure

_ANN, _BOB = "owners/ann", "owners/bob"


def handed_out(bench: Bench, rung: Job, number: int = 1) -> list[str]:
    """Names of the next jobs that a worker gets who was rung for this one, each done before the next."""
    names = []
    for _ in range(number):
        claimed = bench.jobs.claim(rung.name, worker="worker-1", lease=LEASE, kinds=[KIND])
        if claimed.lease is None:
            break
        bench.jobs.finish(claimed.job.name, fence=claimed.lease.fence, outcome=JobOutcome())
        names.append(claimed.job.name)
    return names


class QueueingSuite:
    """Turns, priorities, limits."""

    def test_jobs_of_one_sort_are_handed_out_as_they_came(self, bench: Bench) -> None:
        jobs = [bench.create() for _ in range(4)]
        assert handed_out(bench, jobs[2], 9) == [job.name for job in jobs]

    def test_the_length_of_a_queue_counts_what_runs_waits_and_is_held_back(self, bench: Bench) -> None:
        first, second = bench.create(), bench.create()
        bench.create(after=(second.name,))
        bench.create(queue="elsewhere")
        bench.jobs.finish(first.name, fence=bench.claim(first).fence, outcome=JobOutcome())
        bench.claim(second)
        bench.create()
        here = {part: (first.queue, part) for part in ("running", "ready", "held")}
        expected = {here["running"]: 1, here["ready"]: 1, here["held"]: 1, ("elsewhere", "ready"): 1}
        assert bench.ledger.lengths() == expected

    def test_whoever_is_rung_for_the_highest_priority_goes_first(self, bench: Bench) -> None:
        low, normal, high = (bench.create(priority=priority) for priority in Priority)
        assert [job.priority for job in (low, normal, high)] == list(Priority)
        assert handed_out(bench, low, 3) == [high.name, normal.name, low.name]

    def test_a_high_job_goes_before_its_owner_s_others_and_after_one_of_each_other_owner_at_most(
        self, bench: Bench
    ) -> None:
        jobs = [bench.create(owner=owner) for owner in (_ANN, _BOB) for _ in range(5)]
        assert handed_out(bench, jobs[0], 2) == [jobs[0].name, jobs[5].name]
        running = bench.jobs.claim(jobs[0].name, worker="worker-1", lease=LEASE, kinds=[KIND])
        assert running.lease is not None
        high = bench.create(owner=_ANN, priority=Priority.HIGH)
        assert handed_out(bench, jobs[0], 2) == [jobs[6].name, high.name]

    def test_an_owner_with_many_jobs_keeps_nobody_waiting(self, bench: Bench) -> None:
        many = [bench.create(owner=_ANN) for _ in range(20)]
        first = handed_out(bench, many[0], 5)
        few = [bench.create(owner=_BOB) for _ in range(2)]
        order = handed_out(bench, many[0], 5)
        assert first == [job.name for job in many[:5]]
        assert [name for name in order if name in {job.name for job in few}] == [job.name for job in few]

    def test_a_low_job_waits_for_sixteen_high_ones_and_no_more(self, bench: Bench) -> None:
        low = bench.create(priority=Priority.LOW)
        for _ in range(40):
            bench.create(priority=Priority.HIGH)
        assert handed_out(bench, low, 17).index(low.name) in (15, 16)

    def test_only_jobs_of_the_worker_s_kinds_and_of_the_queue_are_handed_out(self, bench: Bench) -> None:
        bench.create(kind="vermeil.tester.v1.other", priority=Priority.HIGH)
        bench.create(queue="elsewhere", priority=Priority.HIGH)
        mine = bench.create()
        assert handed_out(bench, mine, 3) == [mine.name]

    def test_what_is_not_ready_is_not_handed_out(self, bench: Bench) -> None:
        first = bench.create()
        bench.create(after=(first.name,), priority=Priority.HIGH)
        lease = bench.claim(first)
        bench.jobs.finish(first.name, fence=lease.fence, outcome=failure())
        later = bench.create()
        assert handed_out(bench, later, 3) == [later.name]

    def test_a_ring_for_a_job_that_is_over_or_held_hands_out_another(self, bench: Bench) -> None:
        over, held, waiting = (bench.create() for _ in range(3))
        bench.jobs.cancel(over.name)
        bench.claim(held)
        assert handed_out(bench, over, 2) == [waiting.name]
        assert handed_out(bench, held) == []

    def test_a_job_whose_worker_vanished_goes_to_whoever_is_rung_for_it(self, bench: Bench) -> None:
        job = bench.create(owner=_ANN)
        bench.ledger.set_quota(_ANN, Limits(max_running=1))
        bench.claim(job)
        bench.create(owner=_BOB, priority=Priority.HIGH)
        bench.clock.advance(11)
        assert handed_out(bench, job) == [job.name]

    def test_jobs_over_the_limit_wait_until_one_of_their_owner_s_ends(self, bench: Bench) -> None:
        bench.ledger.set_quota(_ANN, Limits(max_running=1))
        first, second, elsewhere = (
            bench.create(owner=_ANN, queue=queue) for queue in ("tester", "tester", "elsewhere")
        )
        other = bench.create(owner=_BOB)
        fence = bench.claim(first).fence
        assert not bench.is_claimable(second)
        assert not bench.is_claimable(elsewhere)
        assert handed_out(bench, second, 2) == [other.name]
        bench.doorbell.take()
        bench.jobs.finish(first.name, fence=fence, outcome=JobOutcome())
        assert sorted(bench.doorbell.take()) == sorted([second.name, elsewhere.name])
        assert bench.is_claimable(elsewhere)
        assert not bench.is_claimable(second)

    @pytest.mark.parametrize("give_back", [True, False])
    def test_a_job_that_goes_back_makes_place_for_another(self, bench: Bench, give_back: bool) -> None:
        bench.ledger.set_quota(_ANN, Limits(max_running=1))
        first, second = bench.create(owner=_ANN), bench.create(owner=_ANN)
        fence = bench.claim(first).fence
        if give_back:
            bench.jobs.release(first.name, fence=fence)
        else:
            bench.jobs.finish(first.name, fence=fence, outcome=failure())
        assert bench.is_claimable(second)
        assert not bench.is_claimable(first)

    def test_a_job_more_than_may_wait_is_refused_with_owner_limit_and_fix(self, bench: Bench) -> None:
        bench.ledger.set_quota(_ANN, Limits(max_waiting=2))
        jobs = [bench.create(owner=_ANN, request_id=f"r{number}") for number in range(2)]
        with pytest.raises(
            QuotaExceeded, match=r"owners/ann has 2 jobs waiting, and may have 2.*quotas set ann"
        ):
            bench.create(owner=_ANN)
        assert bench.create(owner=_ANN, request_id="r1").name == jobs[1].name
        bench.create(owner=_BOB)
        bench.claim(jobs[0])
        bench.create(owner=_ANN)
        assert bench.ledger.quota(_ANN).num_waiting == 2

    def test_a_limit_that_is_lifted_or_taken_away_rings_for_those_who_waited(self, bench: Bench) -> None:
        bench.ledger.set_quota(_ANN, Limits(max_running=1))
        jobs = [bench.create(owner=_ANN) for _ in range(3)]
        bench.claim(jobs[0])
        bench.clock.advance(5)
        for _ in range(2):
            bench.sweep()
        bench.doorbell.take()
        bench.ledger.set_quota(_ANN, None)
        bench.sweep()
        assert {jobs[1].name, jobs[2].name} <= set(bench.doorbell.take())
        assert len(handed_out(bench, jobs[1], 3)) == 2

    def test_a_limit_that_is_lowered_leaves_what_runs_and_waits(self, bench: Bench) -> None:
        jobs = [bench.create(owner=_ANN) for _ in range(4)]
        for job in jobs[:2]:
            bench.claim(job)
        quota = bench.ledger.set_quota(_ANN, Limits(max_running=1, max_waiting=1))
        assert (quota.num_running, quota.num_waiting, quota.is_default) == (2, 2, False)
        assert all(bench.jobs.get(job.name).state is JobState.RUNNING for job in jobs[:2])
        assert not bench.is_claimable(jobs[2])

    def test_quotas_are_listed_by_owner_page_by_page(self, bench: Bench) -> None:
        bench.create(owner=_BOB)
        bench.ledger.set_quota("owners/cid", Limits(3, 4))
        bench.ledger.set_quota(_ANN, Limits(1, 2))
        bench.jobs.cancel(bench.create(owner="owners/dan").name)
        first, token = bench.ledger.list_quotas(page_size=2)
        rest, end = bench.ledger.list_quotas(page_size=2, page_token=token)
        assert [quota.owner for quota in [*first, *rest]] == [_ANN, _BOB, "owners/cid"]
        assert [quota.is_default for quota in [*first, *rest]] == [False, True, False]
        assert end == ""

    def test_nonsense_about_quotas_is_refused_by_name(self, bench: Bench) -> None:
        with pytest.raises(InvalidInput, match=r"limits\.max_running"):
            Limits(max_running=-1)
        with pytest.raises(InvalidInput, match="owner"):
            bench.ledger.set_quota("ann", Limits())
        with pytest.raises(InvalidInput, match="owner"):
            bench.create(owner="owners/../ann")
        with pytest.raises(NotFound):
            bench.jobs.claim("jobs/none", worker="worker-1", kinds=[KIND])

    def test_a_priority_is_no_part_of_what_a_request_asks_for(self, bench: Bench) -> None:
        job = bench.create(request_id="r1", priority=Priority.LOW)
        assert bench.create(request_id="r1", priority=Priority.HIGH).name == job.name
