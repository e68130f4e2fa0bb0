"""What finishing, failing, cancelling and releasing promise: every effect once."""

from datetime import timedelta

import pytest
from vermeil_errors import AttemptsExhausted, Conflict, InvalidInput, StaleFence, Violation

from vermeil_jobs.job import (
    Cancellation,
    Failure,
    JobError,
    JobOutcome,
    JobState,
    NewDatasetVersion,
    NewModelVersion,
    Progress,
)
from vermeil_jobs.suite.bench import Bench, artifact, failure


class EndingSuite:
    """Finishing, failing, cancelling, releasing."""

    def test_success_brings_outputs_figures_and_names_of_versions(self, bench: Bench) -> None:
        job = bench.create()
        outcome = JobOutcome(
            outputs={"model": artifact(1), "dataset": artifact(2, "dataset")},
            result={"loss": 1.5, "steps": 100, "notes": ["a", None, True, {"deep": "b"}]},
            dataset_versions=(
                NewDatasetVersion("datasets/pages", artifact(2, "dataset"), {"licence": "CC0"}),
            ),
            model_versions=(NewModelVersion("models/nano", artifact(1), recipe="{}", seed=7),),
        )
        done = bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=outcome)
        assert done.state is JobState.SUCCEEDED
        assert done.outputs == outcome.outputs
        assert done.result == {
            **outcome.result,
            "dataset_version": "datasets/pages/versions/1",
            "model_version": "models/nano/versions/1",
        }
        assert done.error is None
        assert done.end_time == bench.clock.now
        assert bench.jobs.get(job.name) == done

    def test_success_told_twice_is_one_success(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        outcome = JobOutcome(model_versions=(NewModelVersion("models/nano", artifact(1)),))
        first = bench.jobs.finish(job.name, fence=fence, outcome=outcome)
        bench.clock.advance(1)
        assert bench.jobs.finish(job.name, fence=fence, outcome=outcome) == first
        assert first.result["model_version"] == "models/nano/versions/1"

    def test_versions_count_on_from_job_to_job(self, bench: Bench) -> None:
        names = []
        for number in (1, 2, 3):
            job = bench.create()
            versions = (NewModelVersion("models/nano", artifact(number)),)
            outcome = JobOutcome(model_versions=versions)
            done = bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=outcome)
            names.append(done.result["model_version"])
        assert names == [f"models/nano/versions/{number}" for number in (1, 2, 3)]

    def test_several_versions_of_one_job_are_all_named(self, bench: Bench) -> None:
        job = bench.create()
        versions = tuple(NewDatasetVersion(f"datasets/{name}", artifact(1, "dataset")) for name in ("b", "a"))
        outcome = JobOutcome(dataset_versions=versions)
        done = bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=outcome)
        assert done.result["dataset_version"] == "datasets/b/versions/1"
        assert done.result["dataset_versions"] == ["datasets/b/versions/1", "datasets/a/versions/1"]

    def test_a_zombie_that_finishes_late_changes_nothing(self, bench: Bench) -> None:
        job = bench.create()
        zombie = bench.claim(job)
        bench.clock.advance(11)
        heir = bench.claim(job, "worker-2")
        outcome = JobOutcome(model_versions=(NewModelVersion("models/nano", artifact(1)),))
        for outcome_of_zombie in (outcome, failure(), failure(retryable=False), Cancellation()):
            with pytest.raises(StaleFence, match="no longer holds"):
                bench.jobs.finish(job.name, fence=zombie.fence, outcome=outcome_of_zombie)
        with pytest.raises(StaleFence):
            bench.jobs.release(job.name, fence=zombie.fence)
        done = bench.jobs.finish(job.name, fence=heir.fence, outcome=outcome)
        assert done.result["model_version"] == "models/nano/versions/1"
        with pytest.raises(StaleFence):
            bench.jobs.finish(job.name, fence=zombie.fence, outcome=outcome)

    def test_a_zombie_of_a_parked_job_changes_nothing(self, bench: Bench) -> None:
        job = bench.create(max_attempts=1)
        zombie = bench.claim(job)
        bench.clock.advance(11)
        bench.sweep()
        with pytest.raises(StaleFence):
            bench.jobs.finish(job.name, fence=zombie.fence, outcome=JobOutcome())
        assert bench.jobs.get(job.name).state is JobState.FAILED

    def test_a_fence_that_was_never_given_is_stale(self, bench: Bench) -> None:
        job = bench.create()
        with pytest.raises(StaleFence):
            bench.jobs.finish(job.name, fence=0, outcome=JobOutcome())
        fence = bench.claim(job).fence
        with pytest.raises(StaleFence):
            bench.jobs.finish(job.name, fence=fence + 1, outcome=JobOutcome())

    def test_a_finish_after_another_ending_of_the_same_lease_is_stale(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        bench.jobs.release(job.name, fence=fence)
        with pytest.raises(StaleFence):
            bench.jobs.finish(job.name, fence=fence, outcome=JobOutcome())
        assert bench.jobs.release(job.name, fence=fence).state is JobState.PENDING

    def test_a_failure_for_good_keeps_its_reason_and_violations(self, bench: Bench) -> None:
        job = bench.create()
        violations = (Violation("recipe.model.num_heads", "must divide the width 384"),)
        error = JobError("INVALID_INPUT", "the recipe is wrong", violations)
        done = bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=Failure(error))
        assert done.state is JobState.FAILED
        assert done.error == error

    def test_a_retryable_failure_waits_and_is_taken_up_again(self, bench: Bench) -> None:
        job = bench.create()
        bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=failure())
        again = bench.jobs.get(job.name)
        assert again.state is JobState.PENDING
        assert again.error is None
        assert not bench.is_claimable(job)
        bench.doorbell.take()
        bench.clock.advance(1)
        bench.sweep()
        assert bench.doorbell.take() == [job.name]
        bench.claim(job)
        assert bench.jobs.get(job.name).attempt == 2

    def test_five_attempts_outlast_a_store_that_is_away_for_a_minute(self, bench: Bench) -> None:
        job = bench.create()
        away_until = bench.clock.now + timedelta(minutes=1)
        while bench.clock.now < away_until:
            fence = bench.claim(job).fence
            failed = bench.jobs.finish(job.name, fence=fence, outcome=failure("the store is away"))
            assert failed.state is JobState.PENDING
            bench.doorbell.take()
            while not bench.doorbell.take():
                bench.clock.advance(1)
                bench.sweep()
        done = bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=JobOutcome())
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, 5)

    def test_attempts_run_out_and_the_last_error_stays_readable(self, bench: Bench) -> None:
        job = bench.create(max_attempts=2)
        bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=failure("first storm"))
        bench.clock.advance(1)
        done = bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=failure("second storm"))
        assert done.state is JobState.FAILED
        assert done.error is not None
        assert done.error.reason == AttemptsExhausted.reason
        assert "second storm" in done.error.message
        log = [line.text for line in bench.jobs.list_logs(job.name).lines]
        assert any("first storm" in text for text in log)
        assert any("second storm" in text for text in log)

    def test_a_failure_told_twice_costs_one_attempt(self, bench: Bench) -> None:
        job = bench.create(max_attempts=2)
        fence = bench.claim(job).fence
        first = bench.jobs.finish(job.name, fence=fence, outcome=failure())
        assert bench.jobs.finish(job.name, fence=fence, outcome=failure()) == first

    def test_a_released_job_is_as_if_never_taken_up(self, bench: Bench) -> None:
        job = bench.create(max_attempts=1)
        for _ in range(3):
            lease = bench.claim(job)
            bench.jobs.heartbeat(job.name, fence=lease.fence, progress=Progress(5, 10))
            bench.doorbell.take()
            released = bench.jobs.release(job.name, fence=lease.fence)
            assert (released.state, released.attempt) == (JobState.PENDING, 0)
            assert bench.doorbell.take() == [job.name]

    def test_a_pending_job_is_cancelled_at_once(self, bench: Bench) -> None:
        job = bench.create()
        cancelled = bench.jobs.cancel(job.name)
        assert cancelled.state is JobState.CANCELLED
        assert cancelled.end_time == bench.clock.now
        assert not bench.is_claimable(job)

    def test_a_running_job_is_asked_to_stop_and_says_when_it_has(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        asked = bench.jobs.cancel(job.name)
        assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
        assert bench.jobs.heartbeat(job.name, fence=fence).cancel_requested
        done = bench.jobs.finish(job.name, fence=fence, outcome=Cancellation())
        assert done.state is JobState.CANCELLED

    def test_a_job_that_is_over_cannot_be_cancelled_any_more(self, bench: Bench) -> None:
        job = bench.create()
        done = bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=JobOutcome())
        assert bench.jobs.cancel(job.name) == done

    def test_nobody_stops_a_job_that_was_not_asked_to(self, bench: Bench) -> None:
        job = bench.create()
        with pytest.raises(Conflict, match="nobody has asked"):
            bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=Cancellation())

    @pytest.mark.parametrize("ending", ["failure", "release", "vanish", "cancel again"])
    def test_a_job_asked_to_stop_is_never_tried_again(self, bench: Bench, ending: str) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        bench.jobs.cancel(job.name)
        match ending:
            case "failure":
                bench.jobs.finish(job.name, fence=fence, outcome=failure())
            case "release":
                bench.jobs.release(job.name, fence=fence)
            case "vanish":
                bench.clock.advance(11)
                bench.sweep()
            case _:
                bench.clock.advance(11)
                bench.jobs.cancel(job.name)
        assert bench.jobs.get(job.name).state is JobState.CANCELLED

    def test_work_done_before_the_cancellation_was_heard_counts(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        bench.jobs.cancel(job.name)
        assert bench.jobs.finish(job.name, fence=fence, outcome=JobOutcome()).state is JobState.SUCCEEDED

    def test_an_outcome_with_a_wrong_name_is_refused_whole(self, bench: Bench) -> None:
        job = bench.create()
        fence = bench.claim(job).fence
        with pytest.raises(InvalidInput, match="is not the name of a model"):
            bench.jobs.finish(
                job.name,
                fence=fence,
                outcome=JobOutcome(model_versions=(NewModelVersion("models/Nano!", artifact(1)),)),
            )
        assert bench.jobs.get(job.name).state is JobState.RUNNING
