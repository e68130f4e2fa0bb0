"""Does a drawn picture show its caption? A pair of encoders must find it among others by the picture."""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections.abc import Sequence

import numpy as np
from vermeil_errors import InvalidInput

from vermeil_evaluator.item import Item
from vermeil_evaluator.pictures import OPTIONS, check_pictures, request, to_draw
from vermeil_evaluator.requests import Answer, Embed, Embedding, Picture, SampleImage
from vermeil_evaluator.task import Conclusion, Row, Run, Task, mean


def check(run: Run) -> None:
    """The judge knows texts and pictures, of the data's size."""
    check_pictures(run, "shared", "name a dual encoder")


def prompt(item: Item, run: Run) -> Sequence[SampleImage]:
    """One picture."""
    return [request(item, run)]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """The picture and its caption."""
    (found,) = answers
    assert isinstance(found, Picture)
    if not item["caption"]:
        raise InvalidInput("the pictures have no captions", field="spec.dataset", fix="name others")
    return {"prompt": item["caption"], "picture": found.png}


def conclude(rows: Sequence[Row], run: Run) -> Conclusion:
    """Rank every caption among `among` different ones, drawn by the seed."""
    assert run.judge, "the task needs a judge"
    texts = sorted({str(row["prompt"]) for row in rows})
    among = min(int(run.number("among")), len(texts))
    if among < 2:
        raise InvalidInput("there is only one caption", field="spec.dataset", fix="name other data")
    asked = [Embed(text=text) for text in texts] + [Embed(image=row["picture"]) for row in rows]
    vectors = [found.vector_D for found in run.judge.answers(asked) if isinstance(found, Embedding)]
    texts_TE, pictures_NE = np.stack(vectors[: len(texts)]), np.stack(vectors[len(texts) :])
    places = {text: place for place, text in enumerate(texts)}
    generator = np.random.default_rng(run.seed)
    for row, picture_E in zip(rows, pictures_NE, strict=True):
        own = places[str(row["prompt"])]
        others = generator.choice(np.delete(np.arange(len(texts)), own), among - 1, replace=False)
        similarity = texts_TE[[own, *others]] @ picture_E
        row["rank"] = 1 + int((similarity[1:] >= similarity[0]).sum())
        row["found"] = texts[int([own, *others][int(similarity.argmax())])]
        row["r_precision"] = float(row["rank"] == 1)
    return Conclusion(details={"among": among, "chance": 1 / among})


TASK = Task(
    name="r-precision",
    version=1,
    description="Share of samples whose caption a pair of encoders finds first among others.",
    request=SampleImage,
    data=to_draw,
    prompt=prompt,
    score=score,
    metrics=(mean("r_precision"),),
    check=check,
    conclude=conclude,
    options={**OPTIONS, "among": 100},
    needs_judge=True,
    data_kind="encoded-dataset",
)
