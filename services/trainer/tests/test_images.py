"""Image models: from pictures with classes or captions to a model folder and a grid to look at."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from vermeil_data import Segment, open_dataset, open_encoded_images, write_dataset
from vermeil_data.testing import picture_samples
from vermeil_errors import InvalidInput
from vermeil_jobs import JobState, NewModelVersion
from vermeil_model import DualEncoder, ImageClassifier, ImageModel, from_pixels, load_checkpoint
from vermeil_trainer.__main__ import main
from vermeil_trainer.network import image_config
from vermeil_trainer.reading import recipe_from_dict, recipe_from_message, recipe_to_message
from vermeil_trainer.recipe import ImageSpec, ModelSpec
from vermeil_trainer.task_rules import task_violations
from vermeil_trainer.testing import World, write_pictures

Values = dict[str, Any]
PNG = b"\x89PNG"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


@pytest.fixture
def drawn(world: World, pictures: Path) -> World:
    world.add_dataset(pictures, "datasets/pictures")
    return world


def _recipe(**changes: Any) -> Values:
    recipe: Values = {
        "name": "drawn",
        "task": "image",
        "model": {"depth": 2, "width": 32, "num_heads": 2},
        "image": {"image_height": 8, "image_width": 8, "patch_size": 4, "sampling_steps": 3},
        "data": {"dataset": "datasets/pictures", "tokenizer": {"kind": "byte"}},
        "run": {"steps": 8, "batch_size": 4, "precision": "fp32", "ema_decay": 0.9, "evaluate_every": 4},
    }
    for name, value in changes.items():
        recipe[name] = recipe.get(name, {}) | value if isinstance(value, dict) else value
    return recipe


def test_a_job_learns_pictures_by_class_and_draws_them(drawn: World) -> None:
    done = drawn.work(drawn.submit(_recipe()))
    assert done.state is JobState.SUCCEEDED, done.error
    assert done.result["images"] == 8 * 4
    assert {"images_per_second", "loss", "validation_loss"} <= set(done.progress.metrics)
    version, _ = drawn.jobs.rows.versions["models/drawn/versions/1"]
    assert isinstance(version, NewModelVersion)
    assert json.loads(version.recipe)["image"]["patch_size"] == 4
    folder = drawn.store.fetch(done.outputs["model"])
    config = json.loads((folder / "config.json").read_text())
    assert config["class_names"] == ["stripe", "check", "slope"]
    assert config["sampling"] == {"steps": 3, "guidance": 2.0}
    assert config["image_fit"] == "crop"
    assert load_checkpoint(folder, ImageModel).config.num_classes == 3
    log = drawn.store.fetch(done.outputs["log"])
    assert {path.name for path in (log / "samples").iterdir()} == {"step-00000004.png", "step-00000008.png"}
    assert (log / "samples.png").read_bytes() == (log / "samples/step-00000008.png").read_bytes()
    assert (log / "samples.png").read_bytes().startswith(PNG)


def test_a_job_learns_pictures_by_caption_with_the_tokenizer_in_its_model(drawn: World) -> None:
    recipe = _recipe(image={"condition": "text", "context_length": 12})
    done = drawn.work(drawn.submit(recipe))
    assert done.state is JobState.SUCCEEDED, done.error
    folder = drawn.store.fetch(done.outputs["model"])
    assert (folder / "tokenizer.json").exists()
    assert load_checkpoint(folder, ImageModel).config.context_length == 12


def test_pictures_without_any_condition_are_learned_too_also_in_bfloat16(drawn: World) -> None:
    done = drawn.work(drawn.submit(_recipe(image={"condition": "none"}, run={"precision": "bf16"})))
    assert done.state is JobState.SUCCEEDED, done.error


def test_equal_image_jobs_give_equal_models(drawn: World) -> None:
    one, two = (drawn.work(drawn.submit(_recipe(), request_id)) for request_id in ("one", "two"))
    assert one.outputs["model"] == two.outputs["model"]


def test_by_hand_a_folder_of_pictures_becomes_a_model_folder(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "drawn.yaml", tmp_path / "run"
    path.write_text(json.dumps(_recipe()))
    assert main(str(path), "--dataset", str(pictures), "--output", str(output)) == 0
    said = capsys.readouterr()
    assert "32 images in" in said.out
    assert "images/s" in said.err
    assert (output / "samples.png").read_bytes().startswith(PNG)
    assert (output / "model/model.safetensors").exists()
    assert open_dataset(pictures).card.name == "pictures"


def test_an_image_model_is_continued_by_pictures_of_the_same_classes(drawn: World) -> None:
    drawn.work(drawn.submit(_recipe(), "first"))
    further = _recipe(name="further", model={"initial": "models/drawn"}, run={"steps": 2})
    done = drawn.work(drawn.submit(further, "second"))
    assert done.state is JobState.SUCCEEDED, done.error
    other = _recipe(name="other", model={"initial": "models/drawn"}, image={"patch_size": 2})
    failed = drawn.work(drawn.submit(other, "third"))
    assert failed.error
    assert failed.error.message == "image.patch_size = 2: model.initial has 4; leave it out"


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"task": "sound"}, "task", "choose text or image or dual or classifier"),
        ({"image": {"patch_size": 3}}, "image.image_height", "8: is no multiple of image.patch_size (3)"),
        ({"image": {"channels": 2}}, "image.channels", "2: is not a choice; choose 3 or 1 or 4"),
        ({"image": {"image_height": 0}}, "image.image_height", "give 1 to 4,096"),
        (
            {"image": {"condition": "none", "context_length": 3}},
            "image.context_length",
            "without a condition",
        ),
        ({"model": {"context_length": 64}}, "model.context_length", "has no meaning for task image"),
        ({"data": {"sampling": "random"}}, "data.sampling", "has no meaning for task image"),
        ({"model": {"width": 34}}, "model.num_heads", "makes heads 17 wide, which is odd"),
    ],
)
def test_a_wrong_field_of_an_image_recipe_is_named(wrong: Values, field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        recipe_from_dict(_recipe(**wrong))
    assert field in [violation.field for violation in refused.value.violations]
    assert words in str(refused.value)


def test_a_text_recipe_has_no_pictures_and_says_nothing_of_them() -> None:
    with pytest.raises(InvalidInput, match=r"image\.patch_size = 2: has no meaning for task text"):
        recipe_from_dict({"name": "x", "image": {"patch_size": 2}})
    plain = recipe_from_dict({"name": "x"})
    assert not recipe_to_message(plain).HasField("image")
    assert recipe_from_message(recipe_to_message(plain)) == plain


@pytest.mark.parametrize("patch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("condition", ["class", "text", "none"])
@pytest.mark.parametrize("context_length", [None, 5])
def test_image_sizes_are_judged_as_the_network_does(
    patch_size: int, condition: str, context_length: int | None
) -> None:
    image = {
        "image_height": 8,
        "image_width": 16,
        "patch_size": patch_size,
        "condition": condition,
        "context_length": context_length,
    }
    spec = ImageSpec(**image)  # type: ignore[arg-type]
    try:
        image_config(ModelSpec(depth=2), spec, 10, 100)
        fits = True
    except InvalidInput:
        fits = False
    try:
        recipe = recipe_from_dict({"name": "x", "task": "image", "model": {"depth": 2}, "image": image})
        assert not task_violations(recipe)
        judged = True
    except InvalidInput:
        judged = False
    assert judged == fits


def test_captions_are_drawn_where_few_pictures_have_one_and_whatever_stands_in_them(
    world: World, tmp_path: Path
) -> None:
    pictures = picture_samples(130)
    bare = [replace(each, segments=each.segments[-1:]) for each in pictures[20:]]
    priced = Segment("text", "given", text=r"from $5\x to $6")
    bare[-1] = replace(bare[-1], segments=(priced, *bare[-1].segments))
    write_dataset(tmp_path / "bare", {"train": pictures[:20], "validation": bare}, "bare")
    world.add_dataset(tmp_path / "bare", "datasets/pictures")
    recipe = _recipe(image={"condition": "text", "context_length": 16}, run={"steps": 2})
    done = world.work(world.submit(recipe))
    assert done.state is JobState.SUCCEEDED, done.error
    assert (world.store.fetch(done.outputs["log"]) / "samples.png").read_bytes().startswith(PNG)


def test_a_dual_model_learns_which_caption_belongs_to_which_picture(drawn: World) -> None:
    recipe = _recipe(name="pairs", task="dual", run={"steps": 30, "batch_size": 8, "evaluate_every": 30})
    recipe["image"] = {"image_height": 8, "image_width": 8, "patch_size": 4, "embedding_width": 16}
    done = drawn.work(drawn.submit(recipe))
    assert done.state is JobState.SUCCEEDED, done.error
    assert 0 <= float(done.result["validation_recall_at_1"]) <= float(done.result["validation_recall_at_10"])
    folder = drawn.store.fetch(done.outputs["model"])
    assert (folder / "tokenizer.json").exists()
    assert load_checkpoint(folder, DualEncoder).config.embedding_width == 16
    assert "validation_recall_at_1" in json.loads((folder / "model_card.json").read_text())["results"]


def test_a_classifier_says_how_often_it_is_right(drawn: World) -> None:
    recipe = _recipe(name="judge", task="classifier", run={"steps": 60, "batch_size": 16})
    recipe["image"] = {"image_height": 8, "image_width": 8}
    recipe["model"] = {"width": 16}
    done = drawn.work(drawn.submit(recipe))
    assert done.state is JobState.SUCCEEDED, done.error
    model = load_checkpoint(drawn.store.fetch(done.outputs["model"]), ImageClassifier)
    assert model.config.num_classes == 3
    encoded = drawn.jobs.get(done.after[0]).outputs["encoded"]
    pictures = open_encoded_images(drawn.store.fetch(encoded))
    judged = model.logits(from_pixels(torch.tensor(pictures.pixels("validation")))).argmax(1).tolist()
    right = [one == other for one, other in zip(judged, pictures.classes("validation"), strict=True)]
    assert done.result["validation_accuracy"] == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize(
    ("task", "wrong", "words"),
    [
        ("dual", {"model": {"qk_norm": False}}, "model.qk_norm = False: has no meaning for task dual"),
        ("dual", {"image": {"guidance": 3.0}}, "image.guidance = 3.0: has no meaning for task dual"),
        ("classifier", {"model": {"width": 12}}, "model.width = 12: is no multiple of 8"),
        ("classifier", {"image": {"image_height": 4}}, "image.image_height = 4: is too small"),
        ("classifier", {"image": {"patch_size": 2}}, "image.patch_size = 2: has no meaning for task cla"),
    ],
)
def test_what_a_task_has_no_use_for_is_refused(task: str, wrong: Values, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        recipe_from_dict({"name": "x", "task": task, **wrong})
    assert words in str(refused.value)
