"""Does the model say of a picture what people say? CIDEr-D, ROUGE-L and BLEU to all captions of the picture.

Pictures of which only the class is known are captioned by its name.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections.abc import Sequence

from vermeil_evaluator.item import Item
from vermeil_evaluator.overlap import BLEU, CIDER_D, ROUGE_L, conclude, overlap
from vermeil_evaluator.requests import Answer, Continuation, GenerateUntil
from vermeil_evaluator.task import Material, Row, Run, Task
from vermeil_evaluator.told_pictures import ToldPictures, captions_of


def data(material: Material) -> ToldPictures:
    """Pictures with their captions."""
    return ToldPictures(material, captions_of, "a picture and captions")


def prompt(item: Item, run: Run) -> Sequence[GenerateUntil]:
    """The picture, and not a word."""
    return [GenerateUntil("", max_tokens=int(run.number("max_tokens")), images=item["pictures"])]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """What a caption tells by itself."""
    (found,) = answers
    assert isinstance(found, Continuation)
    return {"picture": item["pictures"][0], **overlap(found.text.strip(), item["captions"])}


TASK = Task(
    name="captioning",
    version=1,
    description="CIDEr-D (0 to 10), ROUGE-L (0 to 1) and BLEU (0 to 100) of captions to those of people.",
    request=GenerateUntil,
    data=data,
    prompt=prompt,
    score=score,
    metrics=(CIDER_D, ROUGE_L, BLEU),
    conclude=conclude,
    options={"max_tokens": 64},
)
