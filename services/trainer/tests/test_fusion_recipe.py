"""Recipes that make two models one: what they must name, and what is said when they do not."""

from copy import deepcopy
from typing import Any

import pytest
from google.protobuf import json_format
from vermeil_errors import InvalidInput
from vermeil_model import FUSIONS, FusedConfig, ImageConfig, ModelConfig, make_fused
from vermeil_trainer.fusing import open_gates, rates_of
from vermeil_trainer.fusion_rules import ramp_steps
from vermeil_trainer.reading import recipe_from_dict, recipe_from_message, recipe_to_message

KINDS = ["cross_attention", "alloy", "mot", "dense", "low_rank", "prefix"]
RECIPE: dict[str, Any] = {
    "name": "both",
    "task": "fusion",
    "fusion": {"text": "models/words", "image": "models/pictures"},
    "mixture": {
        "sources": [
            {"name": "words", "dataset": "datasets/words"},
            {"name": "seen", "dataset": "datasets/p"},
        ],
        "tasks": [
            {"kind": "language-modelling", "source": "words", "weight": 0.5},
            {"kind": "captioning", "source": "seen", "weight": 1},
            {"kind": "text-to-image", "source": "seen", "weight": 2},
        ],
    },
    "run": {"steps": 50},
}
FUSED_CONFIGS = {
    kind: FusedConfig(
        ModelConfig.from_depth(2, 9, width=64, num_heads=2),
        ImageConfig.from_depth(
            2, image_height=4, image_width=4, channels=1, patch_size=2, width=64, num_heads=2
        ),
        kind,
    )
    for kind in KINDS
}


def changed(**sections: Any) -> dict[str, Any]:
    values = deepcopy(RECIPE)
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return values


def test_a_recipe_comes_back_from_its_message_as_it_was() -> None:
    recipe = recipe_from_dict(RECIPE)
    message = recipe_to_message(recipe)
    assert recipe_from_message(message) == recipe
    assert not message.HasField("model")
    listed = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert recipe_from_dict(listed) == recipe


def test_every_kind_that_may_be_chosen_can_be_made() -> None:
    for kind in FUSIONS:
        assert recipe_from_dict(changed(fusion={"kind": kind})).fusion.kind == kind
    with pytest.raises(InvalidInput, match=rf"choose {' or '.join(sorted(FUSIONS, key=KINDS.index))}$"):
        recipe_from_dict(changed(fusion={"kind": "glue"}))


def test_it_learns_from_all_its_sources() -> None:
    assert recipe_from_dict(RECIPE).datasets == ("datasets/words", "datasets/p")


@pytest.mark.parametrize(("given", "steps"), [(None, 5), (0, 0), (50, 50)])
def test_towers_open_over_a_tenth_of_the_steps_unless_told_otherwise(given: int | None, steps: int) -> None:
    assert ramp_steps(recipe_from_dict(changed(fusion={"ramp_steps": given}))) == steps


@pytest.mark.parametrize("kind", ["alloy", "prefix", "cross_attention"])
def test_what_can_be_shut_opens_step_by_step(kind: str) -> None:
    recipe = recipe_from_dict(changed(fusion={"kind": kind, "ramp_steps": 4}))
    model = make_fused(FUSED_CONFIGS[kind])
    openness = []
    for step in (0, 1, 4, 40):
        open_gates(recipe, model, step)
        openness.append(float(model.state_dict()["joint.openness"]))
    assert openness == [0, 0.25, 1, 1]


@pytest.mark.parametrize("kind", ["alloy", "low_rank", "prefix", "cross_attention"])
def test_what_joins_frozen_towers_may_learn_alone(kind: str) -> None:
    frozen = {"kind": kind, "text_rate": 0, "image_rate": 0, "joint_rate": 0.5}
    rates = rates_of(recipe_from_dict(changed(fusion=frozen)))
    assert rates == {"text.": 0, "image.": 0, "joint.": 0.5}
    assert any(name.startswith("joint.") for name in make_fused(FUSED_CONFIGS[kind]).state_dict())


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"fusion": {"text": ""}}, "fusion.text", "is required; name the model that writes"),
        ({"fusion": {"image": ""}}, "fusion.image", "is required; name the model that draws"),
        ({"fusion": {"kind": "glue"}}, "fusion.kind", "choose cross_attention or alloy or mot"),
        ({"fusion": {"kind": "mot", "ramp_steps": 3}}, "fusion.ramp_steps", "has no meaning for mot"),
        ({"fusion": {"rank": 3}}, "fusion.rank", "has no meaning for cross_attention"),
        ({"fusion": {"ramp_steps": 51}}, "fusion.ramp_steps", "is more than run.steps (50)"),
        ({"fusion": {"text_rate": -1}}, "fusion.text_rate", "give a number at least 0"),
        (
            {"fusion": {"text_rate": 0, "image_rate": 0, "joint_rate": 0}},
            "fusion.image_rate",
            "leaves nothing to learn",
        ),
        ({"fusion": {"kind": "mot", "joint_rate": 0.1}}, "fusion.joint_rate", "has no meaning for mot"),
        ({"fusion": {"kind": "dense", "joint_rate": 0}}, "fusion.joint_rate", "has no meaning for dense"),
        (
            {"fusion": {"kind": "low_rank", "ramp_steps": 3}},
            "fusion.ramp_steps",
            "has no meaning for low_rank",
        ),
        (
            {"fusion": {"kind": "prefix", "text_rate": 0, "image_rate": 0, "joint_rate": 0}},
            "fusion.image_rate",
            "leaves nothing to learn",
        ),
        ({"mixture": {"temperature": 2}}, "mixture.temperature", "means nothing where tasks have weights"),
        (
            {"mixture": {"tasks": [{"kind": "captioning", "source": "seen"}], "samples_per_conversation": 3}},
            "mixture.samples_per_conversation",
            "means nothing where no task is in chat style; give a task `style: chat`, or leave it out",
        ),
        (
            {"mixture": {"samples_per_conversation": 65}},
            "mixture.samples_per_conversation",
            "is out of range; give 1 to 64",
        ),
        (
            {"mixture": {"tasks": [*RECIPE["mixture"]["tasks"], {"kind": "vqa", "source": "seen"}]}},
            "mixture.tasks[3].weight",
            "is missing, while other tasks have one; give all a weight, or none",
        ),
        (
            {"mixture": {"tasks": [*RECIPE["mixture"]["tasks"], RECIPE["mixture"]["tasks"][1]]}},
            "mixture.tasks[3].source",
            "learns captioning from the same source again",
        ),
        (
            {"mixture": {"tasks": [{"kind": "captioning", "source": "seen"}]}},
            "mixture.sources[0].name",
            "'words': is read by no task; leave it out",
        ),
        ({"mixture": {"sources": []}}, "mixture.sources", "is empty; name at least one dataset"),
        ({"mixture": {"tasks": []}}, "mixture.tasks", "is empty; say what to learn"),
        (
            {"mixture": {"tasks": ["captioning"]}},
            "mixture.tasks[0]",
            "'captioning': is not a group of fields",
        ),
        (
            {"mixture": {"tasks": [{"kind": "guessing", "source": "seen"}]}},
            "mixture.tasks[0].kind",
            "choose language-modelling or image-modelling",
        ),
        (
            {"mixture": {"tasks": [{"kind": "vqa", "source": "sea"}]}},
            "mixture.tasks[0].source",
            "'sea': is none of mixture.sources; choose words or seen",
        ),
        (
            {"mixture": {"tasks": [{"kind": "vqa", "source": "seen", "weight": 0}]}},
            "mixture.tasks[0].weight",
            "give a number above 0",
        ),
        (
            {"mixture": {"tasks": [{"kind": "vqa", "source": "seen", "style": "song"}]}},
            "mixture.tasks[0].style",
            "'song': is not a choice; choose document or chat",
        ),
        (
            {"mixture": {"tasks": [{"kind": "language-modelling", "source": "words", "style": "chat"}]}},
            "mixture.tasks[0].style",
            "has no meaning for language-modelling: nobody is asked; leave it out",
        ),
        (
            {"mixture": {"tasks": [{"kind": "vqa", "source": "seen", "window": 64}]}},
            "mixture.tasks[0].window",
            "has no meaning for vqa: its samples are not cut; leave it out",
        ),
        (
            {"mixture": {"tasks": [{"kind": "language-modelling", "source": "words", "window": 129}]}},
            "mixture.tasks[0].window",
            "is more than mixture.text_slots (128); take a shorter one",
        ),
        ({"mixture": {"tasks": [{"task": "vqa"}]}}, "mixture.tasks[0].task", "is not a field of a recipe"),
        ({"model": {"depth": 3}}, "model.depth", "has no meaning for task fusion"),
        ({"data": {"dataset": "datasets/x"}}, "data.dataset", "has no meaning for task fusion"),
        ({"image": {"patch_size": 2}}, "image.patch_size", "has no meaning for task fusion"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_its_fix(
    wrong: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        recipe_from_dict(changed(**wrong))
    found = {each.field: each.description for each in refused.value.violations}
    assert words in found[field]


@pytest.mark.parametrize(
    ("sources", "field", "words"),
    [
        ([{"name": "seen", "dataset": ""}], "mixture.sources[0].dataset", "is required"),
        ([{"name": "a b", "dataset": "datasets/x"}], "mixture.sources[0].name", "'a b': is no name"),
        ([{"name": "seen", "dataset": "datasets/x"}] * 2, "mixture.sources[1].name", "is there twice"),
    ],
)
def test_a_source_has_a_name_of_its_own_and_a_dataset(
    sources: list[dict[str, str]], field: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        recipe_from_dict(changed(mixture={"sources": sources}))
    assert any(each.field == field and words in each.description for each in refused.value.violations)


@pytest.mark.parametrize("section", ["fusion", "mixture"])
def test_a_recipe_of_one_modality_has_no_fusion(section: str) -> None:
    with pytest.raises(InvalidInput, match=rf"{section}\..*has no meaning for task text"):
        recipe_from_dict({"name": "x", section: RECIPE[section]})
