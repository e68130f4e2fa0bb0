"""Does the model draw what a prompt asks for, in GenEval's six categories? A program reads pictures back.

For models of the coloured shapes (vermeil_data.shapes), which are told apart exactly. The prompts are a
function of the seed; the data only say that it is shapes that the model knows.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

import hashlib
from collections.abc import Iterator, Sequence
from math import ceil

from vermeil_data import open_dataset
from vermeil_data.shapes import CATEGORIES, Prompt, fulfils, judge, shape_prompts
from vermeil_data.shapes.render import MIN_SIDE
from vermeil_errors import InvalidInput
from vermeil_media import decode_image

from vermeil_evaluator.documents import check_split
from vermeil_evaluator.item import Item
from vermeil_evaluator.pictures import OPTIONS
from vermeil_evaluator.requests import Answer, Picture, SampleImage
from vermeil_evaluator.task import Material, Row, Run, Task, share

_SCENE = "scene"
"""Metadata of pictures of shapes: what is in them."""


class Prompts:
    """As many prompts of each category, in turn, each with its "seed"."""

    def __init__(self, num_items: int, seed: int) -> None:
        per_category = ceil(num_items / len(CATEGORIES))
        found = list(shape_prompts(seed, per_category))
        in_turn = [found[place::per_category] for place in range(per_category)]
        self._prompts = [each for turn in in_turn for each in turn][:num_items]
        self._seed = seed

    @property
    def sha256(self) -> str:
        """Of the prompts."""
        return hashlib.sha256("\n".join(map(repr, self._prompts)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._prompts)

    def __iter__(self) -> Iterator[Item]:
        for number, wanted in enumerate(self._prompts):
            seed = self._seed * 1_000_003 + number
            yield Item(str(number), {"wanted": wanted, "seed": seed})


def data(material: Material) -> Prompts:
    """Prompts, if it is shapes that the data show."""
    dataset = open_dataset(material.data)
    check_split(dataset.card, material.split)
    first = next(iter(dataset.split(material.split)), None)
    if first is None or _SCENE not in first.metadata:
        raise InvalidInput.for_field(
            "spec.dataset",
            dataset.card.name,
            "holds no pictures of shapes, which alone can be judged without a judge",
            "name a dataset of shapes, or choose the task text-to-image",
        )
    return Prompts(material.limit or int(material.options["num_samples"]), material.seed)


def check(run: Run) -> None:
    """The model draws by words, in a form in which shapes can be read back."""
    model = run.material.model
    if model.condition != "text":
        raise InvalidInput.for_field(
            "spec.model", model.about, "is not asked for pictures by words", "name a fused model"
        )
    size = model.picture_size
    if size and (size.height != size.width or size.height < MIN_SIDE or size.channels != 3):
        raise InvalidInput.for_field(
            "spec.model",
            str(size),
            f"are pictures in which no shapes can be read: squares of at least {MIN_SIDE} in 3 channels can",
            "name a model that was trained on shapes",
        )


def prompt(item: Item, run: Run) -> Sequence[SampleImage]:
    """One picture."""
    steps, guidance = int(run.number("steps")), run.number("guidance")
    return [SampleImage(item["wanted"].text, item["seed"], steps, guidance, str(run.options["solver"]))]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """Whether the picture shows what was asked for, and what it shows."""
    (found,) = answers
    assert isinstance(found, Picture)
    wanted: Prompt = item["wanted"]
    scene = judge(decode_image(found.png, channels=3))
    right = float(fulfils(scene, wanted))
    return {
        "prompt": wanted.text,
        "picture": found.png,
        "category": wanted.category,
        "seen": scene.to_text() or "nothing",
        "overall": right,
        wanted.category: right,
    }


TASK = Task(
    name="shape-prompts",
    version=1,
    description="Share of pictures of shapes that show what was asked for, in GenEval's six categories.",
    request=SampleImage,
    data=data,
    prompt=prompt,
    score=score,
    metrics=(share("overall"), *map(share, CATEGORIES)),
    check=check,
    options={**OPTIONS, "num_samples": 600},
)
