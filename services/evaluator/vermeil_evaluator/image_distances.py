"""How near drawn pictures are to real ones, in the space of a judge: what tasks of it share.

The space decides what the numbers mean, so their names say which it is.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from vermeil_metrics import covered, densities, frechet_distance, in_manifold, nearest

from vermeil_evaluator.item import Item
from vermeil_evaluator.pictures import OPTIONS, PicturesToDraw, check_pictures, png, real, request, to_draw
from vermeil_evaluator.requests import Answer, Embed, Embedding, Picture, SampleImage
from vermeil_evaluator.task import Conclusion, Curve, Row, Rule, Run, Task, mean

TRAIN = "train"
_SUSPECTS = 24
_UNSEEN_SHARE = 0.01
_TELLING = 10
"""With fewer unseen pictures beyond the mark than this, it is coarse."""
_KERNEL_REFERENCE = 2000
Features = npt.NDArray[np.float32]


def prompt(item: Item, run: Run) -> Sequence[SampleImage]:
    """One picture."""
    return [request(item, run)]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """The picture and what was asked for."""
    (found,) = answers
    assert isinstance(found, Picture)
    asked = request(item, run).condition
    return {"prompt": asked, "picture": found.png, "class": item["class"] if asked else ""}


def conclude(rows: Sequence[Row], run: Run, fid: str) -> Conclusion:
    """Judge the drawn and the real ones alike; `fid` is what the distance is called."""
    drawn_ones = to_draw(run.material)
    features, logits = judged(run, [Embed(image=row["picture"]) for row in rows])
    reference, real_logits = judged(run, real(drawn_ones.images, drawn_ones.split))
    train, _ = judged(run, real(drawn_ones.images, TRAIN, int(run.number("num_train"))))
    k = max(1, min(int(run.number("num_neighbours")), len(rows) - 1, len(reference) - 1))
    for row, within, density in zip(
        rows, in_manifold(features, reference, k), densities(features, reference, k), strict=True
    ):
        row["precision"], row["density"] = float(within), float(density)
    judge_classes(rows, logits, run)
    _look_for_copies(rows, features, reference, train, drawn_ones)
    arrays: Mapping[str, Features] = {
        "features": features,
        "reference": reference,
        "real_features": _spread(train, len(rows)),
        "some_reference": _spread(reference, _KERNEL_REFERENCE),
        "recalled": in_manifold(reference, features, k).astype(np.float32),
        "covered": covered(features, reference, k).astype(np.float32),
    }
    details = _details(run, drawn_ones, real_logits, reference, train)
    details[f"{fid} of all training pictures"] = frechet_distance(train, reference)
    return Conclusion(arrays, _curves(rows), details)


def _spread(points: Features, most: int) -> Features:
    """Some from everywhere."""
    places = np.linspace(0, len(points) - 1, min(most, len(points))).astype(int)
    return np.asarray(points[places])


def judged(run: Run, requests: Sequence[Embed]) -> tuple[Features, Features]:
    """Features and logits of pictures."""
    assert run.judge, "the task needs a judge"
    answers = [each for each in run.judge.answers(requests) if isinstance(each, Embedding)]
    return np.stack([each.vector_D for each in answers]), np.stack([each.logits_C for each in answers])


def judge_classes(rows: Sequence[Row], logits_NC: Features, run: Run) -> None:
    """Whether the judge sees the class that was asked for, where it knows it."""
    assert run.judge, "the task needs a judge"
    names = run.judge.model.class_names
    for row, told in zip(rows, logits_NC.argmax(axis=1).tolist(), strict=True):
        if row["class"] in names:
            row["judged"] = names[told]
            row["class_accuracy"] = float(names[told] == row["class"])


def _look_for_copies(
    rows: Sequence[Row], features: Features, reference: Features, train: Features, drawn: PicturesToDraw
) -> None:
    """A sample is suspect if it is nearer to a training picture than nearly all unseen real ones are."""
    distances, places = nearest(features, train)
    unseen, _ = nearest(reference, train)
    threshold = float(np.quantile(unseen, _UNSEEN_SHARE))
    for row, distance, place in zip(rows, distances.tolist(), places.tolist(), strict=True):
        row["train_distance"] = distance / (float(np.median(unseen)) or 1.0)
        row["nearest_train"] = place
        row["suspect"] = float(distance < threshold)
    pixels = drawn.images.pixels(TRAIN)
    for row in sorted(rows, key=lambda row: float(row["train_distance"]))[:_SUSPECTS]:
        row["picture_beside"] = png(pixels[row["nearest_train"]])


def _how_copies_were_told(num_unseen: int) -> str:
    """A remark on the page: the mark is a quantile, and hangs on few pictures where there are few."""
    told = f"nearer to a training picture than {1 - _UNSEEN_SHARE:.0%} of {num_unseen:,} unseen real ones"
    num_telling = _UNSEEN_SHARE * num_unseen
    return told if num_telling >= _TELLING else f"{told}; coarse: the nearest of them alone set the mark"


def _curves(rows: Sequence[Row]) -> Sequence[Curve]:
    ordered = sorted(float(row["train_distance"]) for row in rows)
    share = np.linspace(0, 1, len(ordered))
    title = "Distance to the nearest training picture (1: as far as unseen real ones, median)"
    return [Curve(title, "share of samples", "distance", share.tolist(), ordered)] if len(rows) > 1 else ()


def _details(
    run: Run, drawn: PicturesToDraw, real_logits: Features, reference: Features, train: Features
) -> dict[str, object]:
    assert run.judge, "the task needs a judge"
    other = "" if run.judge.model.space == "inception" else "; not Inception"
    details: dict[str, object] = {
        "space": f"features of {run.judge.model.about}, {reference.shape[1]} dimensions{other}",
        "num_real": len(reference),
        "num_train": len(train),
        "near_copies": _how_copies_were_told(len(reference)),
    }
    return details | judge_accuracy(drawn, real_logits, run)


def judge_accuracy(drawn: PicturesToDraw, real_logits: Features, run: Run) -> dict[str, object]:
    """How often the judge knows the class of real pictures, where they have one."""
    assert run.judge, "the task needs a judge"
    classes = drawn.images.classes(drawn.split)
    names, known_names = drawn.images.class_names, run.judge.model.class_names
    known = [
        (names[told], known_names[said])
        for told, said in zip(classes.tolist(), real_logits.argmax(axis=1).tolist(), strict=True)
        if told >= 0 and known_names
    ]
    return {"judge_accuracy": sum(told == said for told, said in known) / len(known)} if known else {}


def image_distances(space: str, name: str, description: str, named: Callable[[str], str], fix: str) -> Task:
    """A task that compares drawn pictures with real ones in a judge's space.

    Args:
        space: What the judge's features must be good for.
        name: Of the task.
        description: A sentence for people.
        named: What a number is called in this space, such as "fid_small" for "fid".
        fix: Which judge to name instead of one with another space.
    """
    fid, kid = named("fid"), named("kid")
    return Task(
        name=name,
        version=1,
        description=description,
        request=SampleImage,
        data=to_draw,
        prompt=prompt,
        score=score,
        metrics=(
            Rule(fid, "frechet", ("features", "reference"), lower_is_better=True),
            Rule(f"{fid}_of_real", "frechet", ("real_features", "reference"), lower_is_better=True),
            Rule(kid, "kernel", ("features", "some_reference"), lower_is_better=True),
            mean("class_accuracy"),
            Rule(named("precision"), "mean", ("precision",)),
            Rule(named("recall"), "array_mean", ("recalled",)),
            Rule(named("density"), "mean", ("density",)),
            Rule(named("coverage"), "array_mean", ("covered",)),
            Rule("near_copies", "mean", ("suspect",), lower_is_better=True),
        ),
        check=lambda run: check_pictures(run, space, fix),
        conclude=lambda rows, run: conclude(rows, run, fid),
        options={**OPTIONS, "num_train": 10_000, "num_neighbours": 5},
        needs_judge=True,
        data_kind="encoded-dataset",
    )
