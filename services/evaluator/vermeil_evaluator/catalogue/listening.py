"""Does a generator heed what it is asked for? Its loss under a wrong prompt minus that under the right one.

A picture's noise and times are the same under both. A low loss alone can be that of a generator which
stopped listening. The wrong prompt is said of another picture of the split, and not of this one.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections.abc import Sequence
from hashlib import sha256
from itertools import count

from vermeil_data import Dataset, Sample
from vermeil_errors import InvalidInput

from vermeil_evaluator.item import Item
from vermeil_evaluator.requests import Answer, FlowLoss, ImageLoss
from vermeil_evaluator.task import Material, Row, Rule, Run, Task, mean
from vermeil_evaluator.told_pictures import Add, Told, ToldPictures, captions_of


def data(material: Material) -> ToldPictures:
    """Pictures with what is said of them, and of others."""
    by_class = material.model.condition == "class"
    if material.model.condition == "none":
        raise InvalidInput.for_field(
            "spec.model",
            material.model.about,
            "is not asked for pictures by words",
            "name a model that draws by class or caption",
        )

    def names(told: Told) -> list[str]:
        return [told["class"]] if by_class else told["captions"]

    def tell(sample: Sample) -> Told | None:
        told = captions_of(sample)
        return told if told and any(names(told)) else None

    def learn(dataset: Dataset) -> Add:
        known: dict[str, None] = {}
        for told in filter(None, map(tell, dataset.split(material.split))):
            known |= dict.fromkeys(names(told))

        return lambda sample, told: _asked(sample.id, names(told), list(known), material.seed)

    wanted = "a picture and its class" if by_class else "a picture and captions"
    return ToldPictures(material, tell, wanted, learn=learn)


def _asked(identity: str, own: Sequence[str], known: Sequence[str], seed: int) -> Told:
    """A right and a "wrong" prompt and the "seed" of the noise, which follow from who it is."""
    if not set(known) - set(own):
        raise InvalidInput(
            "everything is called alike, so no prompt is wrong", field="spec.dataset", fix="name other data"
        )
    draws = (int(sha256(f"{seed}/{identity}/{number}".encode()).hexdigest()[:15], 16) for number in count())
    noise = next(draws)
    wrong = next(name for draw in draws if (name := known[draw % len(known)]) not in own)
    return {"right": own[0], "wrong": wrong, "seed": noise}


def prompt(item: Item, run: Run) -> Sequence[ImageLoss]:
    """The picture under both prompts."""
    (picture,) = item["pictures"]
    return [ImageLoss(picture, item[name], item["seed"]) for name in ("right", "wrong")]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """What it makes of both."""
    right, wrong = (found.value for found in answers if isinstance(found, FlowLoss))
    shown = {"picture": item["pictures"][0], "prompt": item["right"], "wrong prompt": item["wrong"]}
    return {**shown, "listening": wrong - right, "loss_right": right, "loss_wrong": wrong}


TASK = Task(
    name="listening",
    version=1,
    description="Loss of pictures under a wrong prompt minus that under the right one: 0 heeds nothing.",
    request=ImageLoss,
    data=data,
    prompt=prompt,
    score=score,
    metrics=(
        mean("listening"),
        mean("loss_right", lower_is_better=True),
        Rule("loss_wrong", "mean", ("loss_wrong",)),
    ),
)
