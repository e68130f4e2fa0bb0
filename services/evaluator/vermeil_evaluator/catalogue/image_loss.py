"""How well does a generator know pictures, asked for nothing? Its flow loss, before and after it was fused.

Image models and fused ones get the same pictures, noise and times, so their reports can be compared.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections.abc import Sequence
from hashlib import sha256

from vermeil_evaluator.item import Item
from vermeil_evaluator.requests import Answer, FlowLoss, ImageLoss
from vermeil_evaluator.task import Material, Row, Run, Task, mean
from vermeil_evaluator.told_pictures import ToldPictures, picture_of


def data(material: Material) -> ToldPictures:
    """Pictures, whatever is said of them."""
    return ToldPictures(material, picture_of, "a picture")


def prompt(item: Item, run: Run) -> Sequence[ImageLoss]:
    """The picture, with noise of its own."""
    seed = int(sha256(f"{run.seed}/{item.id}".encode()).hexdigest()[:15], 16)
    return [ImageLoss(item["pictures"][0], "", seed)]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """What it costs."""
    (found,) = answers
    assert isinstance(found, FlowLoss)
    return {"picture": item["pictures"][0], "image_loss": found.value}


TASK = Task(
    name="image-loss",
    version=1,
    description="Flow loss of pictures without a prompt: what a generator keeps when it is fused.",
    request=ImageLoss,
    data=data,
    prompt=prompt,
    score=score,
    metrics=(mean("image_loss", lower_is_better=True),),
)
