"""Two models become one: from backbones and a mixture to a model folder that remembers where it is from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from vermeil_data import Segment, write_dataset
from vermeil_data.testing import picture_samples
from vermeil_errors import InvalidInput, NotFound
from vermeil_jobs import Job, JobState, NewModelVersion
from vermeil_model import FusedModel, ImageModel, TextModel, load_checkpoint
from vermeil_trainer.__main__ import main
from vermeil_trainer.testing import World, write_pictures, write_questions, write_words
from vermeil_training import read_metrics

Values = dict[str, Any]
SIZES = {"depth": 2, "width": 32, "num_heads": 2}
RUN = {"steps": 6, "batch_size": 4, "precision": "fp32"}
TEXT: Values = {
    "name": "words",
    "model": {**SIZES, "context_length": 16},
    "data": {"dataset": "datasets/words", "tokenizer": {"kind": "byte"}},
    "run": RUN,
}
IMAGE: Values = {
    "name": "drawn",
    "task": "image",
    "model": SIZES,
    "image": {"image_height": 8, "image_width": 8, "patch_size": 4, "sampling_steps": 2},
    "data": {"dataset": "datasets/pictures", "tokenizer": {"kind": "byte"}},
    "run": RUN,
}
FUSION: Values = {
    "name": "both",
    "task": "fusion",
    "fusion": {"text": "models/words", "image": "models/drawn", "ramp_steps": 4, "text_rate": 0.5},
    "mixture": {
        "sources": [
            {"name": "words", "dataset": "datasets/words"},
            {"name": "seen", "dataset": "datasets/pictures"},
            {"name": "asked", "dataset": "datasets/questions"},
        ],
        "tasks": [
            {"kind": "language-modelling", "source": "words", "window": 32},
            {"kind": "captioning", "source": "seen", "style": "chat"},
            {"kind": "text-to-image", "source": "seen"},
            {"kind": "vqa", "source": "asked"},
        ],
        "text_slots": 64,
        "picture_slots": 2,
    },
    "run": {**RUN, "ema_decay": 0.9, "evaluate_every": 3},
}


def _with(**changes: Any) -> Values:
    return {**FUSION, **{name: {**FUSION[name], **value} for name, value in changes.items()}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    """Two backbones, learned once, and where all of it lies."""
    folder = tmp_path_factory.mktemp("backbones")
    world = World.in_folder(folder)
    world.add_dataset(write_words(folder / "raw"))
    world.add_dataset(write_pictures(folder / "pictures"), "datasets/pictures")
    world.add_dataset(write_questions(folder / "questions"), "datasets/questions")
    for number, recipe in enumerate((TEXT, IMAGE)):
        done = world.work(world.submit(recipe, f"backbone-{number}"))
        assert done.state is JobState.SUCCEEDED, done.error
    return folder, world


@pytest.fixture
def backbones(trained: tuple[Path, World], tmp_path: Path) -> World:
    """A world of the test's own with the same data and models."""
    folder, known = trained
    for name in ("raw", "pictures", "questions", "artifacts"):
        shutil.copytree(folder / name, tmp_path / name)
    world = World.in_folder(tmp_path)
    for version, _ in known.jobs.rows.versions.values():
        world.register(version)
    return world


def _fused(world: World, recipe: Values = FUSION) -> Job:
    done = world.work(world.submit(recipe, "fuse"))
    assert done.state is JobState.SUCCEEDED, done.error
    return done


def test_a_job_makes_one_model_of_two_that_reads_and_draws(backbones: World) -> None:
    done = _fused(backbones)
    folder = backbones.store.fetch(done.outputs["model"])
    model = load_checkpoint(folder, FusedModel)
    assert model.config.fusion == "cross_attention"
    assert float(model.joint.openness) == 1
    config = json.loads((folder / "config.json").read_text())
    assert config["sampling"] == {"steps": 25, "guidance": 2.0}
    assert config["styles"] == {
        "language-modelling": "document",
        "captioning": "chat",
        "text-to-image": "document",
        "vqa": "chat",
    }
    assert (folder / "tokenizer.json").exists()


@pytest.mark.parametrize("kind", ["mot", "dense", "low_rank"])
def test_towers_are_shared_as_far_as_the_recipe_says(backbones: World, kind: str) -> None:
    chosen = {"kind": kind, "ramp_steps": None, **({"rank": 4} if kind == "low_rank" else {})}
    done = _fused(backbones, _with(fusion=chosen))
    config = load_checkpoint(backbones.store.fetch(done.outputs["model"]), FusedModel).config
    assert config.fusion == kind
    assert config.options == ({"attention": 4, "feed_forward": 4} if kind == "low_rank" else {})


def test_it_remembers_its_backbones_and_its_data(backbones: World) -> None:
    done = _fused(backbones)
    version, _ = backbones.jobs.rows.versions["models/both/versions/1"]
    assert isinstance(version, NewModelVersion)
    assert version.datasets == tuple(
        f"datasets/{name}/versions/1" for name in ("words", "pictures", "questions")
    )
    fusion = json.loads(version.recipe)["fusion"]
    assert (fusion["text"], fusion["image"]) == ("models/words/versions/1", "models/drawn/versions/1")
    card = json.loads((backbones.store.fetch(done.outputs["model"]) / "model_card.json").read_text())
    assert card["data"]["sources"]["asked"]["num_samples"] == {"train": 32, "validation": 8}
    assert {"text", "image"} <= done.inputs.keys()


def test_the_log_has_the_losses_of_every_task_in_text_and_pictures(backbones: World) -> None:
    done = _fused(backbones)
    lines = read_metrics(backbones.store.fetch(done.outputs["log"]))
    told = {name for line in lines for name in line}
    for name in (
        *("text", "image", "captioning/seen/text", "text-to-image/seen/image", "vqa/asked/text"),
        "language-modelling/words/text",
    ):
        assert f"validation_loss_{name}" in told
    assert "validation_loss_captioning/seen/image" not in told
    assert {"tokens_per_second", "pictures_per_second", "mfu_text", "mfu_image", "mfu"} <= told
    log = backbones.store.fetch(done.outputs["log"])
    assert {path.name for path in (log / "samples").iterdir()} == {"step-00000003.png", "step-00000006.png"}


@pytest.mark.parametrize(
    ("kind", "columns"), [("alloy", ["head 1", "head 2"]), ("cross_attention", ["attention", "feed-forward"])]
)
def test_the_log_has_a_map_of_the_gates(backbones: World, kind: str, columns: list[str]) -> None:
    done = _fused(backbones, _with(fusion={"kind": kind}))
    told = json.loads((backbones.store.fetch(done.outputs["log"]) / "fusion.json").read_text())
    assert (told["fusion"], told["step"], told["openness"]) == (kind, 6, 1)
    assert [table["name"] for table in told["tables"]] == ["text looks at pictures", "pictures look at text"]
    for table in told["tables"]:
        assert table["columns"] == columns
        assert table["rows"][-1] == "layer 2"
        assert all(0 < gate < 1.5 for row in table["values"] for gate in row)


def test_a_way_of_joining_without_gates_has_no_map(backbones: World) -> None:
    done = _fused(backbones, _with(fusion={"kind": "mot", "ramp_steps": None}))
    assert not (backbones.store.fetch(done.outputs["log"]) / "fusion.json").exists()


def test_a_tower_with_a_rate_of_0_stays_as_it_was(backbones: World) -> None:
    done = _fused(backbones, _with(fusion={"text_rate": 0}))
    fused = load_checkpoint(backbones.store.fetch(done.outputs["model"]), FusedModel)
    version, _ = backbones.jobs.rows.versions["models/words/versions/1"]
    alone = load_checkpoint(backbones.store.fetch(version.artifact), TextModel)
    for name, weight in alone.layers.state_dict().items():
        assert torch.equal(fused.text.layers.state_dict()[name], weight), name
    version, _ = backbones.jobs.rows.versions["models/drawn/versions/1"]
    painter = load_checkpoint(backbones.store.fetch(version.artifact), ImageModel)
    assert not torch.equal(fused.image.head.weight, painter.head.weight)


def test_the_same_request_is_the_same_job_after_newer_versions_came(backbones: World, tmp_path: Path) -> None:
    first = backbones.submit(FUSION, "again")
    backbones.add_dataset(write_questions(tmp_path / "more", 48), "datasets/questions")
    assert backbones.submit(FUSION, "again").name == first.name


def _further(**changes: Any) -> Values:
    fusion = {"kind": "cross_attention", "text_rate": 0.0}
    return {**FUSION, "name": "further", "model": {"initial": "models/both"}, "fusion": fusion, **changes}


def test_a_fused_model_learns_on_from_where_it_was(backbones: World) -> None:
    first = backbones.store.fetch(_fused(backbones).outputs["model"])
    mixture = {**FUSION["mixture"], "samples_per_conversation": 3, "text_slots": 300}
    done = backbones.work(backbones.submit(_further(mixture=mixture), "further"))
    assert done.state is JobState.SUCCEEDED, done.error
    before, after = (
        load_checkpoint(folder, FusedModel)
        for folder in (first, backbones.store.fetch(done.outputs["model"]))
    )
    assert torch.equal(before.text.embedding.weight, after.text.embedding.weight)
    assert not torch.equal(before.image.head.weight, after.image.head.weight)
    assert float(after.joint.openness) == 1
    assert after.config.text.context_length > before.config.text.context_length
    version, _ = backbones.jobs.rows.versions["models/further/versions/1"]
    assert json.loads(version.recipe)["model"]["initial"] == "models/both/versions/1"
    again = backbones.submit(_further(model={"initial": "models/further"}, name="again"), "again")
    assert backbones.work(again).state is JobState.SUCCEEDED


def test_a_fused_model_is_continued_by_hand(backbones: World, tmp_path: Path, capsys: Any) -> None:
    folder = backbones.store.fetch(_fused(backbones).outputs["model"])
    sources = [
        {"name": name, "dataset": str(tmp_path / place)}
        for name, place in (("words", "raw"), ("seen", "pictures"), ("asked", "questions"))
    ]
    recipe = _further(model={"initial": str(folder)}, mixture={**FUSION["mixture"], "sources": sources})
    path = tmp_path / "further.yaml"
    path.write_text(yaml.safe_dump(recipe))
    main(str(path), "--output", str(tmp_path / "run"))
    assert "rows in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model": {"initial": "models/words"}},
            r"model\.initial = 'models/words/versions/1': was not made here",
        ),
        ({"model": {"initial": "models/nobody"}}, "models/nobody does not exist"),
        ({"fusion": {"text": "models/words"}}, r"fusion\.text.*beside model\.initial"),
        ({"fusion": {"ramp_steps": 2}}, r"fusion\.ramp_steps.*beside model\.initial"),
    ],
)
def test_what_cannot_be_continued_is_refused_at_once(backbones: World, changes: Values, words: str) -> None:
    with pytest.raises((InvalidInput, NotFound), match=words):
        backbones.submit(_further(**changes))


def test_a_fused_model_joined_otherwise_than_the_recipe_says_is_named(backbones: World) -> None:
    _fused(backbones)
    done = backbones.work(backbones.submit(_further(fusion={"kind": "alloy"})))
    assert done.state is JobState.FAILED
    assert "fusion.kind = 'alloy': is not how model.initial is joined (cross_attention)" in done.error.message


def test_by_hand_folders_stand_for_names(backbones: World, tmp_path: Path, capsys: Any) -> None:
    recipe = _with()
    for name in ("text", "image"):
        version, _ = backbones.jobs.rows.versions[
            {"text": "models/words/versions/1", "image": "models/drawn/versions/1"}[name]
        ]
        recipe["fusion"] = {**recipe["fusion"], name: str(backbones.store.fetch(version.artifact))}
    sources = [
        {"name": name, "dataset": str(tmp_path / folder)}
        for name, folder in (("words", "raw"), ("seen", "pictures"), ("asked", "questions"))
    ]
    recipe["mixture"] = {**recipe["mixture"], "sources": sources}
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump(recipe))
    main(str(path), "--output", str(tmp_path / "run"))
    assert "rows in" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "model", FusedModel).config.fusion == "cross_attention"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"fusion": {"image": "models/words"}}, InvalidInput, r"fusion\.image.*task image"),
        ({"fusion": {"text": "models/drawn"}}, InvalidInput, r"fusion\.text.*was made by .* task image"),
        ({"fusion": {"text": "models/nobody"}}, NotFound, "models/nobody does not exist"),
        (
            {"mixture": {"sources": [{"name": "words", "dataset": "datasets/none"}]}},
            InvalidInput,
            r"is none of mixture\.sources",
        ),
    ],
)
def test_what_cannot_be_fused_is_refused_at_once(
    backbones: World, changes: Values, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        backbones.submit(_with(**changes))


def test_a_model_is_not_continued_by_a_recipe_of_another_task(backbones: World) -> None:
    further = {**IMAGE, "model": {"initial": "models/words"}}
    with pytest.raises(InvalidInput, match=r"model\.initial = 'models/words/versions/1'.* of task text"):
        backbones.submit(further, "further")


def test_captions_longer_than_a_row_are_drawn_by_their_beginning(backbones: World, tmp_path: Path) -> None:
    pictures = [
        replace(each, segments=(Segment("text", "given", text="a stripe " * 40), each.segments[-1]))
        for each in picture_samples(30)
    ]
    write_dataset(tmp_path / "long", {"train": pictures[8:], "validation": pictures[:8]}, "long")
    backbones.add_dataset(tmp_path / "long", "datasets/long")
    mixture = {
        "sources": [{"name": "seen", "dataset": "datasets/long"}],
        "tasks": [{"kind": "text-to-image", "source": "seen", "style": "chat"}],
    }
    done = _fused(backbones, _with(mixture=mixture))
    log = backbones.store.fetch(done.outputs["log"])
    assert (log / "samples.png").is_file()


def test_a_source_that_cannot_serve_a_task_is_named(backbones: World) -> None:
    tasks = [{"kind": "vqa", "source": "words"}, {"kind": "captioning", "source": "seen"}]
    sources = FUSION["mixture"]["sources"][:2]
    done = backbones.work(backbones.submit(_with(mixture={"tasks": tasks, "sources": sources})))
    assert done.state is JobState.FAILED
    assert "tasks[0].source" in done.error.message


def test_heads_that_do_not_match_are_named(backbones: World) -> None:
    recipe = {**TEXT, "name": "other", "model": {**TEXT["model"], "num_heads": 4}}
    assert backbones.work(backbones.submit(recipe, "other")).state is JobState.SUCCEEDED
    done = backbones.work(backbones.submit(_with(fusion={"kind": "alloy", "text": "models/other"})))
    assert done.state is JobState.FAILED
    assert "num_heads" in done.error.message
