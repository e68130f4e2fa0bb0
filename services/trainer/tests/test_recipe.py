"""Recipes: what may stand in them, what they mean, and what is said when they are wrong."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from vermeil.training.v1 import recipe_pb2
from vermeil_errors import InvalidInput, NotFound
from vermeil_model import ModelConfig, count_parameters
from vermeil_model.config import SIZES as MODEL_SIZES
from vermeil_trainer.network import model_config
from vermeil_trainer.reading import read_recipe, recipe_from_dict, recipe_from_message, recipe_to_message
from vermeil_trainer.recipe import ModelSpec, Recipe
from vermeil_trainer.rules import EACH
from vermeil_trainer.shipped import FOLDER, shipped_recipes
from vermeil_trainer.sizes import SIZES, size_violations, sizes_of
from vermeil_trainer.train import training_config
from vermeil_training import OptimizerConfig, RunConfig, ScheduleConfig

Small = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"run": {"stepz": 5}}, "run.stepz", "5: is not a field of a recipe; did you mean run.steps?"),
        ({"steps": 5}, "steps", "did you mean run.steps?"),
        ({"lr": 5}, "lr", "known here are name, description, model, data"),
        ({"run": {"steps": "soon"}}, "run.steps", "'soon': is not a whole number; give a whole number"),
        ({"run": {"steps": 1.5}}, "run.steps", "1.5: is not a whole number"),
        ({"run": {"steps": True}}, "run.steps", "True: is not a whole number"),
        ({"run": {"steps": 0}}, "run.steps", "0: is out of range; give 1 or more"),
        ({"run": {"steps": 10**12}}, "run.steps", "1000000000000: is not a whole number"),
        ({"run": {"compile": "yes"}}, "run.compile", "'yes': is not true or false"),
        (
            {"run": {"precision": "fp8"}},
            "run.precision",
            "'fp8': is not a choice; choose auto or bf16 or",
        ),
        ({"run": {"ema_decay": 1}}, "run.ema_decay", "give a number at least 0 and below 1"),
        ({"run": 5}, "run", "5: is not a group of fields"),
        ({"optimizer": {"learning_rate": 0}}, "optimizer.learning_rate", "give a number above 0"),
        ({"optimizer": {"learning_rate": "fast"}}, "optimizer.learning_rate", "'fast': is not a number"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate", "nan: is out of range"),
        ({"schedule": {"warmup_steps": 99}}, "schedule.warmup_steps", "is more than run.steps (12)"),
        ({"model": {"size": "huge"}}, "model.size", "choose nano or tiny or small or base or large"),
        ({"model": {"width": 100, "num_heads": 7}}, "model.num_heads", "7 heads do not divide width 100"),
        ({"model": {"width": 100, "num_heads": 7, "head_width": 9}}, "model.head_width", "9: is odd"),
        ({"model": {"num_heads": None, "width": 200}}, "model.width", "3 heads do not divide width 200"),
        ({"model": {"width": 34}}, "model.num_heads", "makes heads 17 wide, which is odd"),
        ({"model": {"num_key_value_heads": 3}}, "model.num_key_value_heads", "use 1 or 2"),
        ({"model": {"context_length": 4}}, "model.context_length", "give 8 to 1,048,576"),
        ({"data": {"tokenizer": {"kind": "words"}}}, "data.tokenizer.kind", "choose bpe or byte or char"),
        ({"data": {"tokenizer": {"vocab_size": 5}}}, "data.tokenizer.vocab_size", "give 300 to 1,000,000"),
        (
            {"data": {"tokenizer": {"kind": "byte", "vocab_size": 500}}},
            "data.tokenizer.vocab_size",
            "cannot be chosen for a byte tokenizer; leave it out",
        ),
        ({"name": "Big Model"}, "name", "'Big Model': is not the name of a model"),
        ({"name": ""}, "name", "is required"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_its_fix(
    small: Small, wrong: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        recipe_from_dict(small(**wrong))
    (violation,) = refused.value.violations
    assert violation.field == field
    assert words in violation.description
    assert str(refused.value) == f"{field} = {violation.description}"


def test_all_wrong_fields_are_told_at_once(small: Small) -> None:
    with pytest.raises(InvalidInput, match=r"run\.stepz = .*; optimizer\.kind = ") as refused:
        recipe_from_dict(small(run={"stepz": 1}, optimizer={"kind": 3}))
    assert len(refused.value.violations) == 2


def test_a_message_is_checked_like_a_file(small: Small) -> None:
    wrong = small(run={"steps": 0}, optimizer={"beta1": 2})
    message = json_format.ParseDict(wrong, recipe_pb2.Recipe())
    with pytest.raises(InvalidInput) as by_message:
        recipe_from_message(message)
    with pytest.raises(InvalidInput) as by_file:
        recipe_from_dict(wrong)
    assert by_message.value.violations == by_file.value.violations


def test_what_is_left_out_takes_the_default_of_the_training_library() -> None:
    config = training_config(recipe_from_dict({"name": "x"}))
    assert (config.optimizer, config.schedule, config.run) == (
        OptimizerConfig(),
        ScheduleConfig(),
        RunConfig(),
    )


def test_zero_is_a_value_and_not_a_field_left_out() -> None:
    recipe = recipe_from_dict({"name": "x", "optimizer": {"gradient_clip": 0, "weight_decay": 0}})
    assert (recipe.optimizer.gradient_clip, recipe.optimizer.weight_decay) == (0, 0)
    assert recipe_from_message(recipe_to_message(recipe)) == recipe


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\noptimizer: {learning_rate: 3e-4}\n")
    assert recipe_from_dict(read_recipe(path)).optimizer.learning_rate == 3e-4


def test_a_recipe_as_the_api_lists_it_can_be_written_into_a_file(small: Small) -> None:
    recipe = recipe_from_dict(small(run={"seed": 7}))
    listed = json_format.MessageToDict(recipe_to_message(recipe), preserving_proto_field_name=True)
    assert listed["run"]["seed"] == "7"
    assert recipe_from_dict(listed) == recipe


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, NotFound, "no recipe can be read at"),
        ("a: [", InvalidInput, "is not YAML"),
        ("- a", InvalidInput, "holds no recipe"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(
    tmp_path: Path, content: str | None, error: type[Exception], words: str
) -> None:
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=words):
        read_recipe(path)


def test_every_field_of_the_contract_is_known_and_no_other() -> None:
    def check(section: object, descriptor: Any) -> None:
        assert [field.name for field in fields(section)] == [field.name for field in descriptor.fields]  # type: ignore[arg-type]
        for ours, field in zip(fields(section), descriptor.fields, strict=True):  # type: ignore[arg-type]
            if EACH in ours.metadata:
                check(ours.metadata[EACH](), field.message_type)
            elif field.message_type is not None:
                check(getattr(section, field.name), field.message_type)

    check(Recipe(), recipe_pb2.Recipe.DESCRIPTOR)


def test_sizes_are_judged_and_derived_as_the_network_does() -> None:
    assert dict(MODEL_SIZES) == SIZES
    choices = product(
        (None, 1, 5, 20), (None, 96, 130, 640), (None, 1, 3, 8), (None, 7, 64), (None, 1, 2, 3), ("", "tiny")
    )
    for depth, width, heads, head_width, grouped, size in choices:
        spec = ModelSpec(size, depth, width, heads, head_width, grouped)
        try:
            config: ModelConfig | None = model_config(spec, 1000)
        except InvalidInput:
            config = None
        assert bool(size_violations(spec)) == (config is None), spec
        if config is not None:
            sizes = sizes_of(spec)
            assert (sizes.depth, sizes.width, sizes.num_heads) == (
                config.depth,
                config.width,
                config.num_heads,
            )
            assert sizes.context_length == config.context_length


def test_dimensions_win_over_the_dial() -> None:
    spec = ModelSpec(size="nano", depth=2, feed_forward_width=48, rope_theta=500.0, qk_norm=False)
    config = model_config(spec, 1000)
    assert (config.depth, config.width, config.context_length) == (2, 128, 256)
    assert (config.feed_forward_width, config.rope_theta, config.qk_norm) == (48, 500.0, False)


def test_every_shipped_recipe_is_sound_and_named_like_its_file() -> None:
    assert [recipe.name for recipe in shipped_recipes()] == sorted(
        path.stem for path in FOLDER.glob("*.yaml")
    )
    assert {"nano", "peps", "shakespeare-nanogpt"} <= {recipe.name for recipe in shipped_recipes()}
    for recipe in shipped_recipes():
        assert recipe.description
        assert not recipe.data.dataset
        if recipe.task == "text":
            model_config(recipe.model, 4096)


def test_the_nanogpt_recipe_has_as_many_weights_as_nanogpt() -> None:
    recipe = next(recipe for recipe in shipped_recipes() if recipe.name == "shakespeare-nanogpt")
    assert count_parameters(model_config(recipe.model, 65)).total == pytest.approx(0.80e6, rel=0.01)


def test_serving_and_waiting_for_work_need_no_torch() -> None:
    program = (
        "import sys, vermeil_trainer.wiring, vermeil_trainer.tasks, vermeil_trainer.__main__; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
