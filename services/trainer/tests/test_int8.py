"""Models in int8: a job that learns nothing, and what it leaves behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vermeil_data import TokenizerSpec, train_tokenizer
from vermeil_errors import InvalidInput
from vermeil_jobs import JobState, NewModelVersion
from vermeil_model import is_int8, load_checkpoint, save_checkpoint
from vermeil_model.testing import small_model
from vermeil_trainer.__main__ import main
from vermeil_trainer.reading import recipe_from_dict, recipe_to_message
from vermeil_trainer.testing import World

Small = Callable[..., dict[str, Any]]
RECIPE: dict[str, Any] = {"name": "tiny-int8", "task": "int8", "model": {"initial": "models/tiny"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tiny"
    save_checkpoint(made, small_model(), extra={"eos_token_id": 2})
    train_tokenizer(["words"], TokenizerSpec("byte")).save(made)
    (made / "model_card.json").write_text('{"name": "tiny", "results": {"validation_loss": 1.0}}')
    return made


def test_a_job_makes_a_version_that_says_what_it_was_made_of(world: World, folder: Path) -> None:
    artifact, learned_from = world.store.publish(folder, kind="model"), ("datasets/words/versions/1",)
    world.register(NewModelVersion("models/tiny", artifact, datasets=learned_from))
    job = world.submit(RECIPE)
    assert (job.after, set(job.inputs)) == ((), {"initial"})
    world.register(NewModelVersion("models/tiny", job.inputs["initial"]))
    assert world.submit(RECIPE) == job
    done = world.work(job)
    assert done.state == JobState.SUCCEEDED
    assert done.result["weight_bytes"] < done.result["initial_weight_bytes"]  # type: ignore[operator]
    assert done.progress.done == done.progress.total
    version = world.peers.names.model_version("models/tiny-int8")
    assert version.datasets == learned_from
    recipe = json.loads(version.recipe)
    assert (recipe["task"], recipe["model"]["initial"]) == ("int8", "models/tiny/versions/1")
    made = world.store.fetch(version.artifact)
    assert is_int8(load_checkpoint(made))
    card = json.loads((made / "model_card.json").read_text())
    assert (card["name"], card["recipe"]["task"], "results" in card) == ("tiny-int8", "int8", False)


def test_nothing_is_made_of_int8_again_and_nothing_learns_from_it(
    world: World, folder: Path, small: Small
) -> None:
    world.register(NewModelVersion("models/tiny", world.store.publish(folder, kind="model")))
    world.work(world.submit(RECIPE))
    again = world.work(world.submit(RECIPE | {"model": {"initial": "models/tiny-int8"}}, "again"))
    assert again.error is not None
    assert "model.initial = 'models/tiny-int8/versions/1': is in int8 already" in again.error.message
    with pytest.raises(InvalidInput, match=r"model\.initial = 'models/tiny-int8.*by a recipe of task int8"):
        world.submit(small() | {"model": {"initial": "models/tiny-int8"}}, "learning")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {}}, r"model\.initial = '': is required"),
        ({"data": {"dataset": "datasets/x"}}, r"data\.dataset = 'datasets/x': has no meaning for task int8"),
        (
            {"model": {"initial": "models/tiny", "depth": 3}},
            r"model\.depth = 3: has no meaning for task int8",
        ),
        ({"image": {"channels": 1}}, r"image\.channels = 1: has no meaning for task int8"),
        ({"adapter": {"rank": 4}}, r"adapter\.rank = 4: has no meaning but for task text"),
    ],
)
def test_recipes_that_say_more_are_refused_by_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        recipe_from_dict(RECIPE | changes)


def test_a_recipe_is_the_same_there_and_back() -> None:
    recipe = recipe_from_dict(RECIPE)
    assert not recipe_to_message(recipe).HasField("data")
    assert recipe.datasets == ()


def test_it_works_by_hand_too(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(RECIPE | {"model": {"initial": str(folder)}}))
    assert main(str(recipe), "--output", str(tmp_path / "run")) == 0
    assert is_int8(load_checkpoint(tmp_path / "run" / "model"))
    assert "bytes of weights became" in capsys.readouterr().out
    assert main(str(recipe), "--dataset", "x", "--output", str(tmp_path / "other")) == 2
    assert "--dataset" in capsys.readouterr().err
