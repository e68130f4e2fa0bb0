"""Does the model draw what it is asked for in words? A classifier tells the class of what was drawn.

Of real pictures of the split the classes are taken, and the words they are called by: a caption, or the
name of the class where there is none.
"""

from collections.abc import Sequence

from vermeil_errors import InvalidInput

from vermeil_evaluator.image_distances import judge_accuracy, judge_classes, judged, prompt, score
from vermeil_evaluator.pictures import OPTIONS, check_pictures, real, to_draw
from vermeil_evaluator.requests import Embed, SampleImage
from vermeil_evaluator.task import Conclusion, Row, Run, Task, share


def check(run: Run) -> None:
    """The model reads words, and the judge tells classes apart."""
    model = run.material.model
    if model.condition != "text":
        raise InvalidInput.for_field(
            "spec.model",
            model.about,
            "is not asked for pictures by words",
            "name a fused model, or choose image-quality",
        )
    check_pictures(run, "small", "name a classifier")


def conclude(rows: Sequence[Row], run: Run) -> Conclusion:
    """A number for each class, beside how often the judge is right about real pictures."""
    drawn = to_draw(run.material)
    _, logits = judged(run, [Embed(image=row["picture"]) for row in rows])
    judge_classes(rows, logits, run)
    told = [row for row in rows if "class_accuracy" in row]
    if not told:
        raise InvalidInput(
            "no picture has a class that the judge knows", field="spec.judge", fix="name another judge"
        )
    for row in told:
        row[_of_class(row["class"])] = row["class_accuracy"]
    names = (_of_class(name) for name in sorted({str(row["class"]) for row in told}))
    _, of_real = judged(run, real(drawn.images, drawn.split))
    rules = tuple(map(share, names))
    return Conclusion(details=judge_accuracy(drawn, of_real, run), metrics=rules)


def _of_class(name: str) -> str:
    return f"accuracy of {name}"


TASK = Task(
    name="text-to-image",
    version=1,
    description="Share of pictures drawn by words that show the class asked for, to a small classifier.",
    request=SampleImage,
    data=to_draw,
    prompt=prompt,
    score=score,
    metrics=(share("class_accuracy"),),
    check=check,
    conclude=conclude,
    options=OPTIONS,
    needs_judge=True,
)
