"""Asks for pictures made ready for a model: classes, captions, sizes, seeds."""

from dataclasses import replace
from typing import Any

import pytest
from vermeil_errors import InvalidInput
from vermeil_generator.fakes import CLASSES, tiny_image_model, tiny_tokenizer
from vermeil_generator.image_ask import MAX_SEED, ImageAsk, ImageSampling
from vermeil_generator.image_order import Captions, Drawable, ImageOrder, Style, Suited

TOKENIZER = tiny_tokenizer()
OF_CLASSES = Drawable(tiny_image_model("class").config, CLASSES)
OF_CAPTIONS = Drawable(tiny_image_model("text").config, captions=Captions(TOKENIZER.encode, 16))
OF_NOTHING = Drawable(tiny_image_model("none").config)


def asked(model: Drawable, prompt: str = "", **fields: Any) -> ImageOrder:
    sampling = ImageSampling(
        **{name: fields.pop(name) for name in ("steps", "guidance", "solver", "seed") if name in fields}
    )
    return model.prepare(ImageAsk("models/x", prompt, sampling=sampling, **fields))


@pytest.mark.parametrize("prompt", ["cross", "CROSS", "  cross "])
def test_a_class_is_asked_for_by_its_name(prompt: str) -> None:
    order = asked(OF_CLASSES, prompt)
    assert order.wishes[0].condition == 1
    assert order.num_prompt_tokens == 1


def test_a_class_is_asked_for_by_its_number() -> None:
    assert asked(OF_CLASSES, class_number=0).wishes[0].condition == 0
    assert asked(Drawable(OF_CLASSES.config), "2").wishes[0].condition == 2


def test_an_unknown_class_lists_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="send one of: ring, cross, dot") as refused:
        asked(OF_CLASSES, "circle")
    assert refused.value.violations[0].field == "prompt"


def test_names_that_differ_in_case_alone_are_told_apart() -> None:
    model = Drawable(OF_CLASSES.config, ("a", "A", "b"))
    assert [asked(model, name).wishes[0].condition for name in ("a", "A", "B")] == [0, 1, 2]


def test_a_caption_is_read_by_the_tokenizer_of_the_model() -> None:
    order = asked(OF_CAPTIONS, "to be")
    assert order.wishes[0].condition == tuple(TOKENIZER.encode("to be"))
    assert order.num_prompt_tokens == len(TOKENIZER.encode("to be"))


@pytest.mark.parametrize("model", [OF_CLASSES, OF_CAPTIONS, OF_NOTHING])
def test_without_a_prompt_the_model_draws_what_it_likes(model: Drawable) -> None:
    order = asked(model)
    assert order.wishes[0].condition is None
    assert (order.style.guidance, order.num_prompt_tokens) == (1.0, 0)


def test_a_model_draws_as_suits_it_unless_told() -> None:
    model = replace(OF_CLASSES, suited=Suited(steps=12, guidance=3.5))
    assert asked(model, "ring").style == Style(12, 3.5, "euler")
    assert asked(model).style == Style(12, 1.0, "euler")
    assert asked(model, "ring", steps=7, guidance=1.5).style == Style(7, 1.5, "euler")
    assert asked(OF_CLASSES, "ring").style == Style(50, 2.0, "euler")
    assert asked(OF_CLASSES, "ring", guidance=0.0).style.guidance == 0.0


def test_each_picture_has_a_seed_of_its_own() -> None:
    assert [wish.seed for wish in asked(OF_NOTHING, num_images=3, seed=7).wishes] == [7, 8, 9]
    assert [wish.seed for wish in asked(OF_NOTHING, num_images=2, seed=MAX_SEED).wishes] == [MAX_SEED, 0]
    assert asked(OF_NOTHING).wishes[0].seed != asked(OF_NOTHING).wishes[0].seed


@pytest.mark.parametrize(
    ("model", "fields", "named", "words"),
    [
        (OF_NOTHING, {"prompt": "ring"}, "prompt", "draws what it likes"),
        (OF_NOTHING, {"guidance": 2.0}, "sampling.guidance", "no prompt to follow"),
        (OF_NOTHING, {"class_number": 1}, "class_number", "knows no classes"),
        (OF_CLASSES, {"class_number": 3}, "class_number", "send 0 to 2"),
        (OF_CLASSES, {"class_number": -1}, "class_number", "send 0 to 2"),
        (OF_CAPTIONS, {"class_number": 1}, "class_number", "send a prompt"),
        (OF_CAPTIONS, {"prompt": "be " * 40}, "prompt", "shorten it to 16 tokens"),
        (OF_CLASSES, {"width": 1024, "height": 1024}, "width", "draws 8x8 only; ask for that"),
        (OF_CLASSES, {"height": 7}, "height", "draws 8x8 only"),
        (OF_CLASSES, {"num_images": 65}, "num_images", "send 1 to 64"),
        (OF_CLASSES, {"num_images": -1}, "num_images", "send 1 to 64"),
        (OF_CLASSES, {"steps": 0}, "sampling.steps", "send 1 to 1000"),
        (OF_CLASSES, {"steps": 1001}, "sampling.steps", "send 1 to 1000"),
        (OF_CLASSES, {"guidance": -0.1}, "sampling.guidance", "send 0 to 30"),
        (OF_CLASSES, {"guidance": float("nan")}, "sampling.guidance", "send 0 to 30"),
        (OF_CLASSES, {"guidance": 31.0}, "sampling.guidance", "send 0 to 30"),
        (OF_CLASSES, {"solver": "ddim"}, "sampling.solver", "send euler or heun"),
        (OF_CLASSES, {"seed": -1}, "sampling.seed", "send 0 to"),
        (OF_CLASSES, {"num_previews": 9}, "num_previews", "send 0 to 8"),
        (OF_CLASSES, {"num_previews": 2, "steps": 2}, "num_previews", "2 steps; send 0 to 1"),
    ],
)
def test_a_wrong_value_is_refused_by_name_with_what_to_send(
    model: Drawable, fields: dict[str, Any], named: str, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        asked(model, **fields)
    assert refused.value.violations[0].field == named


def test_a_size_that_is_the_model_s_own_may_be_said() -> None:
    assert asked(OF_CLASSES, "ring", width=8, height=8).wishes
