"""What scenes of coloured shapes promise: the same by seed, true words, a judge that reads them back."""

from collections import Counter

import numpy as np
import pytest
from vermeil_data import Sample
from vermeil_data.shapes import (
    CATEGORIES,
    COLOURS,
    KINDS,
    SIZES,
    Scene,
    Shape,
    captions,
    fulfils,
    judge,
    question_samples,
    questions,
    random_scene,
    render,
    shape_prompts,
    shape_samples,
)
from vermeil_errors import InvalidInput
from vermeil_media import decode_image, resize_image

RED_CIRCLE = Shape(0, 0, "circle", "red", "large")
BLUE_SQUARE = Shape(1, 2, "square", "blue", "small")


@pytest.mark.parametrize("side", [24, 32, 64])
def test_the_judge_reads_every_scene_back(side: int) -> None:
    for number in range(120):
        scene = random_scene(side, number)
        assert judge(render(scene, side)) == scene


@pytest.mark.parametrize("deviation", [4, 12])
def test_the_judge_reads_scenes_under_noise(deviation: int) -> None:
    random = np.random.default_rng(0)
    for number in range(120):
        scene = random_scene(1, number)
        noisy = render(scene) + random.normal(0, deviation, (32, 32, 3))
        assert judge(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)) == scene


def test_the_judge_reads_scenes_that_are_blurred_or_scaled() -> None:
    num_right = 0
    for number in range(100):
        scene = random_scene(2, number)
        blurred = resize_image(resize_image(render(scene, 48), 36, 36), 32, 32)
        num_right += judge(blurred) == scene
    assert num_right >= 98


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("size", SIZES)
def test_every_shape_is_told_from_all_others(kind: str, colour: str, size: str) -> None:
    for row in range(3):
        scene = Scene.of([Shape(row, 2 - row, kind, colour, size)])
        assert judge(render(scene)) == scene


def test_what_is_no_shape_is_not_seen() -> None:
    assert judge(np.full((32, 32, 3), 255, np.uint8)) == Scene(())
    assert judge(np.zeros((32, 32, 3), np.uint8)) == Scene(())
    stripe = np.full((32, 32, 3), 255, np.uint8)
    stripe[:, 14:17] = 0
    assert judge(stripe) == Scene(())
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    assert len(judge(noise).shapes) <= 1
    with pytest.raises(InvalidInput, match="must be a square of at least 24"):
        judge(np.zeros((8, 8, 3), np.uint8))


def test_a_scene_is_a_function_of_seed_and_number() -> None:
    assert [random_scene(3, number) for number in range(20)] == [
        random_scene(3, number) for number in range(20)
    ]
    assert random_scene(3, 0) != random_scene(4, 0)
    texts = {random_scene(0, number).to_text() for number in range(300)}
    assert len(texts) > 280
    assert random_scene(0, 0).to_text() == "small cyan triangle 2 0; small red triangle 2 2"


def test_scenes_show_every_kind_colour_size_and_number() -> None:
    scenes = [random_scene(0, number) for number in range(600)]
    for name, known in (("kind", KINDS), ("colour", COLOURS), ("size", SIZES)):
        counts = Counter(getattr(shape, name) for scene in scenes for shape in scene.shapes)
        assert min(counts[each] for each in known) > 0.6 * sum(counts.values()) / len(known)
    assert set(Counter(len(scene.shapes) for scene in scenes)) == {1, 2, 3, 4, 5}


def test_a_scene_comes_back_from_its_text() -> None:
    for number in range(50):
        scene = random_scene(0, number)
        assert Scene.from_text(scene.to_text()) == scene
    assert Scene.from_text("") == Scene(())
    with pytest.raises(InvalidInput, match="is not a shape of a scene"):
        Scene.from_text("large red")
    with pytest.raises(InvalidInput, match="colour = 'pink': is unknown; choose one of red, orange"):
        Scene.from_text("large pink circle 0 0")
    with pytest.raises(InvalidInput, match="two of them share a cell"):
        Scene.of([RED_CIRCLE, RED_CIRCLE])


def test_captions_say_what_there_is() -> None:
    assert captions(Scene.of([RED_CIRCLE])) == (
        "a red circle",
        "a circle",
        "a large red circle",
        "a red circle at the top left",
    )
    assert captions(Scene.of([RED_CIRCLE, BLUE_SQUARE])) == (
        "a red circle and a blue square",
        "a blue square and a red circle",
        "a circle and a square",
        "a square and a circle",
        "a red circle left of a blue square",
        "a red circle above a blue square",
        "a blue square right of a red circle",
        "a blue square below a red circle",
        "a circle left of a square",
        "a circle above a square",
        "a square right of a circle",
        "a square below a circle",
    )
    crosses = [Shape(2, column, "cross", "orange", "small") for column in range(3)]
    assert captions(Scene.of([*crosses, RED_CIRCLE])) == (
        "a red circle and three orange crosses",
        "a circle and three crosses",
    )
    assert captions(Scene(())) == ("nothing",)
    alike = Scene.of([crosses[0], crosses[2]])
    assert captions(alike) == ("two orange crosses", "two crosses")


def test_questions_have_the_right_answers() -> None:
    asked = {each.text: each.answer for each in questions(Scene.of([RED_CIRCLE, BLUE_SQUARE]))}
    assert asked["how many shapes are there?"] == "two"
    assert asked["what colour is the circle?"] == "red"
    assert asked["what shape is blue?"] == "square"
    assert asked["where is the red circle?"] == "top left"
    assert asked["where is the blue square?"] == "right"
    assert asked["how large is the blue square?"] == "small"
    assert asked["is there a blue square?"] == "yes"
    related = [answer for text, answer in asked.items() if text.startswith("is the ")]
    assert len(related) == 2


def test_answers_are_balanced_enough_to_be_worth_asking() -> None:
    answers = Counter(
        question.answer
        for number in range(300)
        for question in questions(random_scene(0, number), 0, number)
        if question.text.startswith(("is there", "is the "))
    )
    assert 0.3 < answers["yes"] / answers.total() < 0.7


@pytest.mark.parametrize("category", CATEGORIES)
def test_prompts_of_every_category_are_fulfilled_by_scenes_that_show_them(category: str) -> None:
    prompts = [prompt for prompt in shape_prompts(0, 40) if prompt.category == category]
    assert len(prompts) == 40
    assert prompts == [prompt for prompt in shape_prompts(0, 40) if prompt.category == category]
    scenes = [random_scene(5, number) for number in range(600)]
    by_caption: dict[str, list[Scene]] = {}
    for scene in scenes:
        for caption in captions(scene):
            by_caption.setdefault(caption, []).append(scene)
    num_found = 0
    for prompt in prompts:
        for scene in by_caption.get(prompt.text, [])[:3]:
            num_found += 1
            assert fulfils(scene, prompt)
            assert fulfils(judge(render(scene)), prompt)
        others = [scene for scene in scenes[:100] if not fulfils(scene, prompt)]
        assert len(others) > 30
        assert not fulfils(Scene(()), prompt)
    assert num_found > 4


def test_numbers_are_met_exactly_and_relations_by_direction() -> None:
    counting, position = (
        next(prompt for prompt in shape_prompts(0, 40) if prompt.category == category)
        for category in ("counting", "position")
    )
    kind, count = counting.wanted[0].kind, counting.wanted[0].count
    assert count
    shapes = [Shape(index // 3, index % 3, kind, "red", "small") for index in range(9)]
    for number in range(1, 9):
        assert fulfils(Scene.of(shapes[:number]), counting) == (number == count)
    one, other = (wanted.kind for wanted in position.wanted)
    ways = {"left of": (1, 0), "right of": (1, 2), "above": (0, 1), "below": (2, 1)}
    for relation, (row, column) in ways.items():
        scene = Scene.of([Shape(row, column, one, "red", "small"), Shape(1, 1, other, "red", "small")])
        assert fulfils(scene, position) == (relation == position.relation)


def test_samples_are_pictures_with_true_captions() -> None:
    samples = list(shape_samples(20, seed=7))
    assert samples == list(shape_samples(20, seed=7))
    for sample in samples:
        scene = Scene.from_text(sample.metadata["scene"])
        *given, picture = sample.segments
        assert judge(decode_image(picture.data or b"")) == scene
        assert tuple(segment.text for segment in given) == captions(scene)
        assert picture.role == "target"
    assert next(shape_samples(1, side=48)).segments[-1].data != samples[0].segments[-1].data


def test_samples_of_questions_have_the_answer_as_target() -> None:
    samples = list(question_samples(5))
    assert len(samples) > 20
    assert len({sample.id for sample in samples}) == len(samples)
    for sample in samples:
        roles = [(segment.modality, segment.role) for segment in sample.segments]
        assert roles == [("image", "given"), ("text", "given"), ("text", "target")]
    assert isinstance(samples[0], Sample)


def test_too_small_a_picture_is_refused() -> None:
    with pytest.raises(InvalidInput, match="side = 16: must be at least 24"):
        render(Scene.of([RED_CIRCLE]), 16)
