"""What callers of the evaluator may rely on, from request to report."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from vermeil.evaluation.v1 import evaluation_pb2, evaluation_service_pb2
from vermeil.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from vermeil_artifacts import LocalStore
from vermeil_data import open_dataset
from vermeil_data.card import load_card
from vermeil_errors import Conflict, InvalidInput, NotFound, PermissionDenied, VermeilError
from vermeil_evaluator.catalogue import perplexity, rolling_perplexity
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_evaluator.submit import submit
from vermeil_evaluator.surroundings import Surroundings
from vermeil_evaluator.tasks import job_kind
from vermeil_evaluator.wiring import build
from vermeil_jobs import (
    Job,
    JobContext,
    JobOutcome,
    JobState,
    MemoryJobs,
    MemoryNames,
    NewDatasetVersion,
    NewJob,
    NewModelVersion,
    Registry,
    Runner,
    Spec,
)
from vermeil_model import read_config, save_adapter
from vermeil_model.testing import small_adapter
from vermeil_rpc import connect
from vermeil_rpc.testing import running

Start = Callable[..., evaluation_service_pb2.StartEvaluationRequest]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "artifacts")


@pytest.fixture
def jobs(store: LocalStore, model_folder: Path, many_texts: Path, encoded_texts: Path) -> MemoryJobs:
    """Jobs, and versions that one of them has registered: texts, their encoding, and a model of both."""
    jobs = MemoryJobs()
    raw = store.publish(many_texts, kind="dataset")
    encoded = store.publish(encoded_texts, kind="encoded-dataset")
    model = store.publish(model_folder, kind="model")
    both = ("datasets/texts-encoded/versions/1", "datasets/texts/versions/1")
    outcome = JobOutcome(
        dataset_versions=(
            NewDatasetVersion("datasets/texts", raw, open_dataset(many_texts).card.to_dict()),
            NewDatasetVersion(
                "datasets/texts-encoded", encoded, load_card(encoded_texts, "encoded").to_dict()
            ),
        ),
        model_versions=(
            NewModelVersion("models/small", model, datasets=both),
            NewModelVersion("models/imported", model),
        ),
    )
    made = jobs.create(NewJob("made.by.hand", "tests", Spec("x/y", b""), request_id="setup"))
    lease = jobs.claim(made.name, worker="tests").lease
    assert lease
    jobs.finish(made.name, fence=lease.fence, outcome=outcome)
    return jobs


@pytest.fixture
def known(jobs: MemoryJobs) -> Registry:
    return Registry(jobs, MemoryNames(jobs))


@pytest.fixture
def start() -> Start:
    def make(request_id: str = "one", **changes: Any) -> evaluation_service_pb2.StartEvaluationRequest:
        values = {"model": "models/small", "task": "perplexity", **changes}
        return evaluation_service_pb2.StartEvaluationRequest(
            spec=evaluation_pb2.EvaluationSpec(**values), request_id=request_id
        )

    return make


@pytest.fixture
def work(jobs: MemoryJobs, known: Registry, store: LocalStore, tmp_path: Path) -> Callable[[Job], Job]:
    """Does a job as a worker would."""

    def run(job: Job) -> Job:
        kind = job_kind(known, Surroundings(store, tmp_path / "answers"))
        done = Runner(jobs, kind, tmp_path / "home").run(job.name)
        assert done
        return done

    return run


def test_a_request_becomes_a_job_and_the_job_a_report(
    start: Start, work: Callable[[Job], Job], known: Registry, store: LocalStore
) -> None:
    done = work(submit(start(), known))
    assert done.state is JobState.SUCCEEDED
    report = json_format.ParseDict(dict(done.result), evaluation_pb2.Report())
    assert report.model == "models/small/versions/1"
    assert report.model_digest == done.inputs["model"].digest
    assert report.task == "perplexity@1"
    assert report.data == "datasets/texts/versions/1#validation"
    assert report.num_items == 40
    assert [metric.name for metric in report.metrics] == ["bits_per_byte", "perplexity"]
    assert all(metric.low < metric.value < metric.high for metric in report.metrics)
    assert all(metric.lower_is_better for metric in report.metrics)
    ref = done.outputs["report"]
    assert ref.kind == "report"
    folder = store.fetch(ref)
    assert len((folder / "items.jsonl").read_text().splitlines()) == 40
    written = json.loads((folder / "report.json").read_text())
    assert written["metrics"][0]["value"] == pytest.approx(report.metrics[0].value)
    assert store.provenance(ref.digest)["job"] == done.name
    assert (done.progress.done, done.progress.total, done.progress.unit) == (40, 40, "items")


def test_an_adapter_is_asked_as_what_it_makes_of_its_base(
    start: Start,
    work: Callable[[Job], Job],
    known: Registry,
    jobs: MemoryJobs,
    store: LocalStore,
    tmp_path: Path,
) -> None:
    config = read_config(store.fetch(known.names.model_version("models/small").artifact))
    save_adapter(tmp_path / "adapter", small_adapter(base=config))
    ref = store.publish(tmp_path / "adapter", kind="model")
    version = NewModelVersion(
        "models/manner", ref, datasets=("datasets/texts/versions/1",), base="models/small/versions/1"
    )
    made = jobs.create(NewJob("made.by.hand", "tests", Spec("x/y", b""), request_id="adapter"))
    lease = jobs.claim(made.name, worker="tests").lease
    assert lease
    jobs.finish(made.name, fence=lease.fence, outcome=JobOutcome(model_versions=(version,)))
    mine, bases = (
        json_format.ParseDict(
            dict(work(submit(start(model, model=model), known)).result), evaluation_pb2.Report()
        )
        for model in ("models/manner", "models/small")
    )
    assert mine.model_digest == ref.digest
    assert mine.metrics[0].value != pytest.approx(bases.metrics[0].value, rel=1e-3)


def test_what_is_measured_is_settled_when_it_is_asked_for(start: Start, known: Registry) -> None:
    job = submit(start(), known)
    spec = evaluation_pb2.EvaluationSpec.FromString(job.spec.value)
    assert spec.model == "models/small/versions/1"
    assert spec.dataset == "datasets/texts/versions/1"
    assert spec.split == "validation"
    assert set(job.inputs) == {"model", "dataset"}


def test_without_a_dataset_the_raw_one_it_learned_from_is_taken(start: Start, known: Registry) -> None:
    assert submit(start(), known).inputs["dataset"].kind == "dataset"
    encoded = submit(start("two", dataset="datasets/texts-encoded"), known)
    assert encoded.inputs["dataset"].kind == "encoded-dataset"


def test_the_same_request_twice_is_one_job(start: Start, known: Registry) -> None:
    assert submit(start(), known).name == submit(start(), known).name


def test_the_service_answers_with_the_job_and_with_clear_errors(
    start: Start, known: Registry, tmp_path: Path
) -> None:
    settings = EvaluatorSettings.load(home=tmp_path / "home")
    with (
        running(lambda: build(settings, known=known)) as server,
        connect(server.address) as channel,
    ):
        stub = EvaluationServiceStub(channel)
        job = stub.StartEvaluation(start(), timeout=60).job
        assert (job.kind, job.queue) == ("vermeil.evaluator.v1.evaluate", "evaluator")
        with pytest.raises(NotFound, match="models/absent"):
            stub.StartEvaluation(start("two", model="models/absent"), timeout=60)


def test_tasks_are_listed_in_pages(known: Registry, tmp_path: Path) -> None:
    settings = EvaluatorSettings.load(home=tmp_path / "home")
    with running(lambda: build(settings, known=known)) as server, connect(server.address) as channel:
        stub = EvaluationServiceStub(channel)
        listed: list[evaluation_pb2.Task] = []
        token = ""
        while True:
            request = evaluation_service_pb2.ListTasksRequest(page_size=1, page_token=token)
            page = stub.ListTasks(request, timeout=60)
            listed += page.tasks
            token = page.next_page_token
            if not token:
                break
        assert {task.name for task in listed} >= {perplexity.TASK.name, rolling_perplexity.TASK.name}
        assert [task.name for task in listed] == sorted(task.name for task in listed)
        with pytest.raises(InvalidInput, match="page_token"):
            stub.ListTasks(evaluation_service_pb2.ListTasksRequest(page_token="?"), timeout=60)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": ""}, InvalidInput, "spec.model = '': is required"),
        ({"model": "small"}, InvalidInput, "is not the name of a model"),
        ({"model": "models/absent"}, NotFound, "models/absent"),
        ({"model": "models/small/versions/9"}, NotFound, "models/small/versions/9"),
        ({"dataset": "datasets/absent"}, NotFound, "datasets/absent"),
        ({"model": "models/imported"}, Conflict, "does not say what it learned from; name a dataset"),
        ({"task": ""}, InvalidInput, "spec.task = '': is not a task; use bits-per-byte"),
        ({"task": "fid"}, InvalidInput, "spec.task = 'fid': is not a task; use bits-per-byte"),
        ({"split": "test"}, InvalidInput, "spec.split = 'test': .* no such split; use train or validation"),
        ({"limit": -3}, InvalidInput, "spec.limit = -3"),
        ({"request_id": ""}, InvalidInput, "request_id = '': is required"),
    ],
)
def test_a_wrong_request_is_refused_before_there_is_a_job(
    start: Start,
    known: Registry,
    jobs: MemoryJobs,
    changes: dict[str, Any],
    error: type[VermeilError],
    message: str,
) -> None:
    before = len(jobs.rows.jobs)
    with pytest.raises(error, match=message):
        submit(start(**changes), known)
    assert len(jobs.rows.jobs) == before


def test_a_damaged_model_fails_the_job_and_names_the_file(
    start: Start, work: Callable[[Job], Job], known: Registry, store: LocalStore
) -> None:
    job = submit(start(), known)
    blob = store.root / "blobs" / store.manifest(job.inputs["model"].digest).entry("config.json").sha256
    blob.chmod(0o644)
    blob.write_text(blob.read_text().replace("16", "61"))
    done = work(job)
    assert done.state is JobState.FAILED
    assert done.error
    assert done.error.reason == "DATA_CORRUPTED"
    assert "config.json" in done.error.message


def test_a_cancelled_job_stops_between_batches(
    start: Start, known: Registry, store: LocalStore, tmp_path: Path
) -> None:
    context = JobContext(submit(start(), known), tmp_path / "work")
    context.request_cancel()
    kind = job_kind(known, Surroundings(store))
    before = set(store.list())
    with pytest.raises(VermeilError, match="was cancelled"):
        kind.work(context, kind.unpack_spec(context))
    assert set(store.list()) == before


def test_a_payload_of_the_queue_is_the_request_itself(known: Registry, store: LocalStore) -> None:
    kind = job_kind(known, Surroundings(store))
    payload = {"spec": {"model": "models/small", "task": "perplexity"}, "request_id": "from-celery"}
    job = kind.submit(kind.parse_request(payload, "task-id"))
    assert isinstance(job, Job)
    assert job.request_id == "from-celery"


@pytest.fixture
def stub(known: Registry, store: LocalStore, tmp_path: Path) -> Iterator[EvaluationServiceStub]:
    """The service over the wire, on the store of the tests."""
    settings = EvaluatorSettings.load(home=tmp_path / "home", artifacts_url=f"file://{store.root}")
    with running(lambda: build(settings, known=known)) as server, connect(server.address) as channel:
        yield EvaluationServiceStub(channel)


def test_a_report_is_read_with_its_page_by_the_name_of_the_job(
    start: Start, work: Callable[[Job], Job], known: Registry, stub: EvaluationServiceStub
) -> None:
    done = work(submit(start(), known))
    answer = stub.GetReport(evaluation_service_pb2.GetReportRequest(name=done.name), timeout=60)
    assert answer.report == json_format.ParseDict(dict(done.result), evaluation_pb2.Report())
    assert answer.page.startswith("<!doctype html>")
    assert "bits_per_byte" in answer.page
    pending = submit(start("two"), known)
    with pytest.raises(Conflict, match="has no report: it is pending; wait for its end"):
        stub.GetReport(evaluation_service_pb2.GetReportRequest(name=pending.name), timeout=60)
    with pytest.raises(NotFound, match="jobs/absent"):
        stub.GetReport(evaluation_service_pb2.GetReportRequest(name="jobs/absent"), timeout=60)


def test_two_jobs_are_compared_or_refused_with_what_differs(
    start: Start, work: Callable[[Job], Job], known: Registry, stub: EvaluationServiceStub
) -> None:
    one = work(submit(start(), known))
    same = work(submit(start("two"), known))
    other = work(submit(start("three", task="rolling-perplexity"), known))

    def compare(first: Job, second: Job) -> evaluation_pb2.Comparison:
        request = evaluation_service_pb2.CompareReportsRequest(first=first.name, second=second.name)
        return stub.CompareReports(request, timeout=60).comparison

    found = compare(one, same)
    assert found.num_items == 40
    assert [(each.difference, each.p_value) for each in found.differences] == [(0.0, 1.0)] * 2
    assert found.first_model == found.second_model == "models/small/versions/1"
    with pytest.raises(Conflict, match="different tasks: perplexity@1 and rolling-perplexity@1"):
        compare(one, other)


def test_questions_are_those_of_the_file_when_they_were_asked(
    start: Start, work: Callable[[Job], Job], known: Registry, store: LocalStore, tmp_path: Path
) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "a", "choices": ["b", "c"], "answer": 0}\n' * 3)
    around = Surroundings(store, roots=(tmp_path,))
    request = start(task="multiple-choice", questions=f"file://{path}")
    job = submit(request, known, around)
    path.write_text("something else")
    done = work(job)
    assert done.state is JobState.SUCCEEDED
    report = json_format.ParseDict(dict(done.result), evaluation_pb2.Report())
    assert [metric.name for metric in report.metrics] == ["acc", "acc_norm"]
    assert report.num_items == 3
    assert report.data.endswith("questions.jsonl")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"questions": "/etc/hostname"}, PermissionDenied, "outside the folders this service reads"),
        ({"questions": "{home}/../../etc/hostname"}, PermissionDenied, "outside the folders"),
        ({"questions": "{home}/link.jsonl"}, PermissionDenied, "outside the folders"),
        ({"questions": "questions.jsonl"}, InvalidInput, "is not an absolute path"),
        ({"questions": "{home}/absent.jsonl"}, NotFound, "no such file"),
        ({"questions": ""}, InvalidInput, "spec.questions = '': is needed for multiple-choice"),
        ({"questions": "/x", "dataset": "datasets/texts"}, InvalidInput, "stands beside a dataset"),
        ({"options": {"steps": "3"}}, InvalidInput, "spec.options.steps = '3': is no option"),
        ({"task": "image-quality"}, InvalidInput, "spec.judge = '': is needed for image-quality"),
        ({"judge": "models/absent"}, NotFound, "models/absent"),
    ],
)
def test_files_and_judges_are_checked_before_there_is_a_job(
    start: Start,
    known: Registry,
    store: LocalStore,
    jobs: MemoryJobs,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[VermeilError],
    message: str,
) -> None:
    home = tmp_path / "allowed"
    home.mkdir()
    (home / "link.jsonl").symlink_to("/etc/hostname")
    given = {
        name: value.format(home=home) if isinstance(value, str) else value for name, value in changes.items()
    }
    before = len(jobs.rows.jobs)
    with pytest.raises(error, match=message):
        submit(start(**{"task": "multiple-choice", **given}), known, Surroundings(store, roots=(home,)))
    assert len(jobs.rows.jobs) == before


def test_the_service_lists_the_tasks_of_its_folders(
    start: Start, known: Registry, tmp_path: Path, work: Callable[[Job], Job], store: LocalStore
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from vermeil_evaluator.catalogue.perplexity import TASK as BASE\n"
        "TASK = replace(BASE, name='my-perplexity')\n"
    )
    job = submit(start(task="my-perplexity"), known, Surroundings(store, include=(folder,)))
    context = JobContext(job, tmp_path / "work")
    kind = job_kind(known, Surroundings(store, include=(folder,)))
    outcome = kind.work(context, kind.unpack_spec(context))
    assert dict(outcome.result)["task"] == "my-perplexity@1"
