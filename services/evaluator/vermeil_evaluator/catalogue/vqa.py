"""Does the model answer questions about pictures, and better than who sees only the question?

Accuracy is the VQA evaluation's, over all questions and by their type. The guess beside it is the most
frequent training answer to the very question, or to any where the question is new.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections import Counter, defaultdict
from collections.abc import Sequence

from vermeil_data import Dataset, Sample
from vermeil_metrics import normal_answer, vqa_accuracy

from vermeil_evaluator.item import Item
from vermeil_evaluator.requests import Answer, Continuation, GenerateUntil
from vermeil_evaluator.task import Conclusion, Material, Row, Run, Task, mean, share
from vermeil_evaluator.told_pictures import Add, Told, ToldPictures, question_of

_TRAIN = "train"


def data(material: Material) -> ToldPictures:
    """Questions about pictures, each with what is guessed without looking."""
    wanted = "a picture, a question and an answer"
    return ToldPictures(material, question_of, wanted, learn=guesses, learn_from=_TRAIN)


def guesses(dataset: Dataset) -> Add:
    """The "guess" of who knows the training answers and sees no picture; none without a training split."""
    if _TRAIN not in dataset.card.splits:
        return lambda _sample, _told: {}
    overall: Counter[str] = Counter()
    by_question: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for told in filter(None, map(question_of, dataset.split(_TRAIN))):
        said = [normal_answer(each) for each in told["answers"]]
        overall.update(said)
        by_question[_plain(told["question"])].update(said)

    def guess(_sample: Sample, told: Told) -> Told:
        known = by_question.get(_plain(told["question"])) or overall
        return {"guess": known.most_common(1)[0][0]} if known else {}

    return guess


def _plain(question: str) -> str:
    return " ".join(question.lower().split())


def prompt(item: Item, run: Run) -> Sequence[GenerateUntil]:
    """The question, with its pictures before it."""
    return [
        GenerateUntil(item["question"], max_tokens=int(run.number("max_tokens")), images=item["pictures"])
    ]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """How right the answer is, and the guess."""
    (found,) = answers
    assert isinstance(found, Continuation)
    said, expected = found.text.strip(), item["answers"]
    accuracy = vqa_accuracy(said, expected)
    row: Row = {
        "picture": item["pictures"][0],
        "prompt": item["question"],
        "answer": said,
        "expected": expected[0] if len(expected) == 1 else expected,
        "type": item["type"],
        "accuracy": accuracy,
        _of_type(item["type"]): accuracy,
    }
    if "guess" in item.fields:
        guessed = vqa_accuracy(item["guess"], expected)
        beside = {"guess": item["guess"], "guess_accuracy": guessed, "beyond_guess": accuracy - guessed}
        row.update(beside)
    return row


def conclude(rows: Sequence[Row], run: Run) -> Conclusion:
    """A number for each type of question."""
    types = Counter(str(row["type"]) for row in rows)
    details = {
        "questions by type": dict(sorted(types.items())),
        "beyond_guess": "accuracy minus that of the most frequent training answer to the question",
    }
    rules = tuple(share(_of_type(each)) for each in sorted(types))
    return Conclusion(details=details, metrics=rules)


def _of_type(name: str) -> str:
    return f"accuracy of {name}"


TASK = Task(
    name="vqa",
    version=1,
    description="Accuracy of answers about pictures, by type of question, beside guesses without looking.",
    request=GenerateUntil,
    data=data,
    prompt=prompt,
    score=score,
    metrics=(share("accuracy"), share("guess_accuracy"), mean("beyond_guess")),
    conclude=conclude,
    options={"max_tokens": 16},
)
