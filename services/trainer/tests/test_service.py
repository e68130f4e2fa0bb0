"""What callers of the trainer may rely on, from request to model version."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from vermeil.job.v1 import job_pb2
from vermeil.training.v1 import training_service_pb2 as wire
from vermeil.training.v1.recipe_pb2 import TrainingSpec
from vermeil.training.v1.training_service_pb2_grpc import TrainingServiceStub
from vermeil_artifacts import ArtifactRef
from vermeil_data import TextTokenizer
from vermeil_errors import AlreadyExists, InvalidInput, NotFound, OutOfSpace, VermeilError
from vermeil_jobs import Drain, Job, JobState, NewModelVersion
from vermeil_model import load_checkpoint
from vermeil_rpc import connect
from vermeil_rpc.testing import running
from vermeil_trainer.settings import TrainerSettings
from vermeil_trainer.tasks import job_kind
from vermeil_trainer.testing import World, write_words
from vermeil_trainer.wiring import build
from vermeil_training import read_metrics

Small = Callable[..., dict[str, Any]]


@pytest.fixture
def stub(world: World) -> Iterator[TrainingServiceStub]:
    settings = TrainerSettings.load()
    with running(lambda: build(settings, peers=world.peers)) as server, connect(server.address) as channel:
        yield TrainingServiceStub(channel)


def test_a_request_becomes_a_job_that_follows_the_encoding(
    stub: TrainingServiceStub, world: World, small: Small
) -> None:
    job = stub.StartTraining(world.request(small()), timeout=60).job
    assert (job.kind, job.queue, job.state) == (
        "vermeil.trainer.v1.train",
        "trainer",
        job_pb2.JOB_STATE_PENDING,
    )
    spec = TrainingSpec.FromString(job.spec.value)
    assert list(job.after) == [spec.encoding_job]
    assert spec.recipe.data.dataset == "datasets/words/versions/1"
    assert job.inputs["dataset"].digest == world.peers.names.dataset_version("datasets/words").artifact.digest
    assert world.jobs.claim(job.name, worker="too early").lease is None


def test_a_job_becomes_a_model_version_that_knows_where_it_came_from(world: World, small: Small) -> None:
    done = world.work(world.submit(small(run={"seed": 3})))
    assert done.state is JobState.SUCCEEDED, done.error
    assert done.result["model_version"] == "models/small/versions/1"
    version, _ = world.jobs.rows.versions["models/small/versions/1"]
    assert isinstance(version, NewModelVersion)
    assert version.artifact == done.outputs["model"]
    assert version.datasets == ("datasets/words/versions/1",)
    assert version.seed == json.loads(version.recipe)["run"]["seed"] == 3
    assert version.code_version
    assert version.metrics["validation_loss"] == done.result["validation_loss"] < 5.6
    assert done.result["steps"] == 12
    assert done.result["tokens"] == 12 * 4 * 16
    assert done.result["parameters"]
    assert (done.progress.done, done.progress.total, done.progress.unit) == (12, 12, "steps")
    assert {"loss", "tokens_per_second", "validation_loss"} <= set(done.progress.metrics)
    folder = world.store.fetch(done.outputs["model"])
    assert load_checkpoint(folder).config.vocab_size == TextTokenizer.load(folder).vocab_size
    card = json.loads((folder / "model_card.json").read_text())
    assert card["results"]["validation_loss"] == done.result["validation_loss"]
    assert card["recipe"]["data"]["dataset"] == "datasets/words/versions/1"
    log = world.store.fetch(done.outputs["log"])
    assert {path.name for path in log.iterdir()} == {"metrics.jsonl", "loss.png", "tensorboard"}
    assert not (world.home / done.name).exists()


def test_equal_jobs_give_equal_models(world: World, small: Small) -> None:
    one, two = (world.work(world.submit(small(), request_id)) for request_id in ("one", "two"))
    other = world.work(world.submit(small(run={"seed": 1}), "three"))
    assert one.name != two.name
    assert one.spec == two.spec
    assert one.outputs["model"] == two.outputs["model"] != other.outputs["model"]


def test_the_queue_is_a_door_like_any_other(world: World, small: Small) -> None:
    kind = job_kind(world.peers, world.store)
    payload = json_format.MessageToDict(world.request(small(), "by-queue"))
    kind.submit(kind.parse_request(payload, "task"))
    by_queue = next(job for job in world.jobs.list_jobs().jobs if job.request_id == "by-queue")
    assert by_queue.spec == world.submit(small(), "by-rpc").spec


def test_the_same_request_is_the_same_job(world: World, small: Small, tmp_path: Path) -> None:
    first = world.submit(small())
    assert world.submit(small()).name == first.name
    world.add_dataset(write_words(tmp_path / "more", 70))
    assert world.submit(small()).name == first.name, "also when the dataset has a newer version by now"
    assert world.submit(small(), "second").spec != first.spec
    with pytest.raises(AlreadyExists, match="request first has already made"):
        world.submit(small(run={"steps": 13}))
    with pytest.raises(AlreadyExists):
        world.submit(small(data={"dataset": "datasets/words/versions/2"}))


@pytest.mark.parametrize(
    ("recipe", "request_id", "error", "words"),
    [
        ({"data": {"dataset": "datasets/none"}}, "a", NotFound, "datasets/none does not exist"),
        ({"data": {"dataset": "words"}}, "a", InvalidInput, "data.dataset = 'words': is not the name"),
        ({"data": {"dataset": ""}}, "a", InvalidInput, "data.dataset = '': is required"),
        ({"model": {"initial": "models/none"}}, "a", NotFound, "models/none does not exist"),
        ({"model": {"initial": "none"}}, "a", InvalidInput, "model.initial = 'none': is not the name"),
        ({"model": {"width": 100, "num_heads": 7}}, "a", InvalidInput, "model.num_heads = 7"),
        ({"run": {"steps": 0}}, "a", InvalidInput, "run.steps = 0: is out of range; give 1 or more"),
        ({}, "", InvalidInput, "request_id = '': is required"),
    ],
)
def test_a_wrong_request_is_refused_before_there_is_a_job(
    stub: TrainingServiceStub,
    world: World,
    small: Small,
    recipe: dict[str, Any],
    request_id: str,
    error: type[VermeilError],
    words: str,
) -> None:
    before = len(world.jobs.rows.jobs)
    with pytest.raises(error, match=words):
        stub.StartTraining(world.request(small(**recipe), request_id), timeout=60)
    assert len(world.jobs.rows.jobs) == before


def test_recipes_are_listed_page_by_page(stub: TrainingServiceStub) -> None:
    whole = stub.ListRecipes(wire.ListRecipesRequest(), timeout=60)
    assert not whole.next_page_token
    names, token = [], ""
    while True:
        page = stub.ListRecipes(wire.ListRecipesRequest(page_size=1, page_token=token), timeout=60)
        names += [recipe.name for recipe in page.recipes]
        token = page.next_page_token
        if not token:
            break
    assert names == [recipe.name for recipe in whole.recipes] == sorted(names)
    with pytest.raises(InvalidInput, match="page_token"):
        stub.ListRecipes(wire.ListRecipesRequest(page_token="jobs"), timeout=60)


def test_a_listed_recipe_can_be_sent_back_with_a_dataset(world: World, stub: TrainingServiceStub) -> None:
    for recipe in stub.ListRecipes(wire.ListRecipesRequest(), timeout=60).recipes:
        if recipe.task == "fusion" or recipe.model.initial:
            continue  # names models of its own, which are not here
        recipe.data.dataset = "datasets/words"
        request = wire.StartTrainingRequest(recipe=recipe, request_id=recipe.name)
        assert stub.StartTraining(request, timeout=60).job.name


class AtStep(Drain):
    """Does something once a job has come so far; the job asks between its steps whether it is to stop."""

    def __init__(self, world: World, job: Job, step: int, act: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._checkpoints = world.home / job.name / "run" / "checkpoints"
        self._step, self._act = step, act or self.start

    @property
    def started(self) -> bool:
        done = (int(path.name.removeprefix("step-")) for path in self._checkpoints.glob("step-*"))
        if max(done, default=0) >= self._step:
            self._act()
        return super().started


def test_a_drained_worker_hands_its_job_on_and_the_model_is_the_same(world: World, small: Small) -> None:
    recipe = small(run={"steps": 60})
    undisturbed = world.work(world.submit(recipe, "undisturbed"))
    job = world.submit(recipe, "drained")
    given_back = world.work(job, AtStep(world, job, 10))
    assert given_back.state is JobState.PENDING
    assert given_back.attempt == 0, "the attempt is not counted"
    done = world.work(job)
    assert done.state is JobState.SUCCEEDED
    assert done.outputs["model"] == undisturbed.outputs["model"]


def test_the_log_of_a_run_can_be_looked_at_before_its_end(world: World, small: Small) -> None:
    job = world.submit(small(run={"steps": 100_000, "evaluate_every": 5, "log_every": 1}))
    unfinished = world.work(job, AtStep(world, job, 10))
    assert unfinished.state is JobState.PENDING
    lines = read_metrics(world.store.fetch(unfinished.outputs["log"]))
    assert [line["step"] for line in lines if "loss" in line][:5] == [1, 2, 3, 4, 5]
    assert any("validation_loss" in line for line in lines)


def test_a_log_that_cannot_be_shown_stops_no_training(
    world: World, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = world.store.publish

    def full_while_it_runs(folder: Path, **details: Any) -> ArtifactRef:
        if not (folder / "loss.png").exists() and details["kind"] == "log":
            raise OutOfSpace("the disk is full", fix="make room")
        return publish(folder, **details)

    monkeypatch.setattr(world.store, "publish", full_while_it_runs)
    done = world.work(world.submit(small()))
    assert done.state is JobState.SUCCEEDED, done.error
    assert "log" in done.outputs
    assert any("could not be shown" in line.text for line in world.jobs.list_logs(done.name).lines)


def test_a_cancelled_job_stops_at_the_next_step(world: World, small: Small) -> None:
    job = world.submit(small(run={"steps": 1_000_000, "checkpoint_every": 5, "evaluate_every": 1_000_000}))
    done = world.work(job, AtStep(world, job, 5, lambda: world.jobs.cancel(job.name)))
    assert done.state is JobState.CANCELLED
    assert not done.outputs


def test_a_run_that_cannot_learn_fails_with_the_reason(world: World, small: Small) -> None:
    done = world.work(world.submit(small(optimizer={"kind": "adamw", "learning_rate": 1e30})))
    assert done.state is JobState.FAILED
    assert done.error
    assert "lower optimizer.learning_rate" in done.error.message
    assert done.attempt == 1, "trying again would not help"


def test_training_goes_on_from_a_registered_model(world: World, small: Small) -> None:
    world.work(world.submit(small(), "first"))
    further = small(name="further", run={"steps": 3}, data={"tokenizer": {"kind": "bpe"}})
    further["model"] = {"initial": "models/small"}
    done = world.work(world.submit(further, "second"))
    assert done.state is JobState.SUCCEEDED, done.error
    assert TrainingSpec.FromString(done.spec.value).recipe.model.initial == "models/small/versions/1"
    models = [world.store.fetch(done.inputs["initial"]), world.store.fetch(done.outputs["model"])]
    assert load_checkpoint(models[0]).config == load_checkpoint(models[1]).config
    assert (
        models[0].joinpath("tokenizer.json").read_bytes() == models[1].joinpath("tokenizer.json").read_bytes()
    )


def test_sizes_other_than_those_of_the_model_to_continue_are_refused(world: World, small: Small) -> None:
    world.work(world.submit(small(), "first"))
    done = world.work(world.submit(small(model={"initial": "models/small", "width": 64}), "second"))
    assert done.state is JobState.FAILED
    assert done.error
    assert done.error.message == "model.width = 64: model.initial has 32; leave it out"
