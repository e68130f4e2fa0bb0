"""What creating, reading and listing jobs promises."""

import pytest
from vermeil_errors import AlreadyExists, InvalidInput, NotFound

from vermeil_jobs.job import JobState
from vermeil_jobs.suite.bench import KIND, QUEUE, Bench, artifact

_WRONG = [
    ("request_id", ""),
    ("request_id", "x" * 129),
    ("request_id", "two words"),
    ("kind", ""),
    ("kind", "../etc/passwd"),
    ("queue", "Trainer!"),
    ("max_attempts", 101),
    ("max_attempts", -1),
    ("after", ("datasets/pages",)),
]


class CreatingSuite:
    """Creating, reading, listing."""

    def test_a_new_job_waits_and_its_queue_is_rung(self, bench: Bench) -> None:
        job = bench.create(inputs={"dataset": artifact(7, "dataset")}, max_attempts=3)
        assert job.state is JobState.PENDING
        assert (job.kind, job.queue, job.owner) == (KIND, QUEUE, "owners/default")
        assert (job.attempt, job.max_attempts) == (0, 3)
        assert job.inputs == {"dataset": artifact(7, "dataset")}
        assert job.create_time == bench.clock.now
        assert bench.doorbell.take() == [job.name]
        assert bench.jobs.get(job.name) == job

    def test_the_same_request_gives_the_same_job(self, bench: Bench) -> None:
        new = bench.new()
        first = bench.jobs.create(new)
        bench.clock.advance(1)
        assert bench.jobs.create(new) == first
        assert len(bench.jobs.list_jobs().jobs) == 1

    def test_the_same_request_id_for_other_work_is_refused(self, bench: Bench) -> None:
        job = bench.create(request_id="mine")
        with pytest.raises(AlreadyExists, match=f"mine has already made {job.name}"):
            bench.create(request_id="mine", max_attempts=2)

    @pytest.mark.parametrize(("field", "value"), _WRONG)
    def test_a_wrong_request_is_refused_and_names_its_field(
        self, bench: Bench, field: str, value: object
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            bench.create(**{field: value})
        assert refused.value.violations[0].field.startswith(field)
        assert bench.jobs.list_jobs().jobs == ()

    def test_a_broker_that_is_down_costs_no_job(self, bench: Bench) -> None:
        bench.doorbell.broken = True
        job = bench.create()
        bench.doorbell.broken = False
        assert job.state is JobState.PENDING
        bench.clock.advance(2)
        bench.sweep()
        assert bench.doorbell.take() == [job.name]

    def test_an_unknown_job_is_not_found(self, bench: Bench) -> None:
        with pytest.raises(NotFound, match="jobs/nobody"):
            bench.jobs.get("jobs/nobody")
        with pytest.raises(NotFound, match="jobs/nobody"):
            bench.jobs.cancel("jobs/nobody")
        with pytest.raises(NotFound, match="jobs/nobody"):
            bench.jobs.list_logs("jobs/nobody")

    @pytest.mark.parametrize("name", ["", "nobody", "jobs/", "jobs/../secrets", "jobs/A", "models/x"])
    def test_what_is_no_name_of_a_job_is_refused(self, bench: Bench, name: str) -> None:
        with pytest.raises(InvalidInput, match="is not the name of a job"):
            bench.jobs.get(name)

    def test_jobs_are_listed_newest_first_in_stable_pages(self, bench: Bench) -> None:
        names = [bench.create().name for _ in range(5)]
        first = bench.jobs.list_jobs(page_size=2)
        later = bench.create().name
        second = bench.jobs.list_jobs(page_size=2, page_token=first.next_page_token)
        third = bench.jobs.list_jobs(page_size=2, page_token=second.next_page_token)
        listed = [job.name for page in (first, second, third) for job in page.jobs]
        assert listed == names[::-1]
        assert third.next_page_token == ""
        assert bench.jobs.list_jobs(page_size=1).jobs[0].name == later

    def test_a_full_last_page_says_that_it_is_the_last(self, bench: Bench) -> None:
        bench.create()
        assert bench.jobs.list_jobs(page_size=1).next_page_token == ""

    def test_lists_can_be_narrowed_to_a_state_and_a_kind(self, bench: Bench) -> None:
        pending, running = bench.create(), bench.create(kind="vermeil.other.v1.work")
        bench.claim(running)
        assert [job.name for job in bench.jobs.list_jobs(state=JobState.RUNNING).jobs] == [running.name]
        assert [job.name for job in bench.jobs.list_jobs(kind=KIND).jobs] == [pending.name]
        assert bench.jobs.list_jobs(kind=KIND, state=JobState.RUNNING).jobs == ()

    @pytest.mark.parametrize("page_size", [-1, 1001])
    def test_page_sizes_out_of_range_are_refused(self, bench: Bench, page_size: int) -> None:
        with pytest.raises(InvalidInput, match="page_size"):
            bench.jobs.list_jobs(page_size=page_size)

    def test_a_page_token_of_another_list_is_refused(self, bench: Bench) -> None:
        for _ in range(2):
            bench.create()
        token = bench.jobs.list_jobs(page_size=1).next_page_token
        with pytest.raises(InvalidInput, match="page_token"):
            bench.jobs.list_jobs(page_token=token, kind=KIND)
        with pytest.raises(InvalidInput, match="page_token"):
            bench.jobs.list_jobs(page_token="nonsense")  # noqa: S106
