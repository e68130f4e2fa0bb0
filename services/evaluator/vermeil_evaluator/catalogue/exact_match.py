"""Does the model end a worked solution with the right number (GSM8K), or give the very text?

A line: {"question": "…", "answer": "… #### 42"}; where the answer has a `####`, what follows it counts,
otherwise the whole answer as text.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections.abc import Sequence

from vermeil_metrics import final_number, same_text

from vermeil_evaluator.item import Item
from vermeil_evaluator.questions import questions
from vermeil_evaluator.requests import Answer, Continuation, GenerateUntil
from vermeil_evaluator.task import Row, Run, Task, mean


def prompt(item: Item, run: Run) -> Sequence[GenerateUntil]:
    """The question, until another one begins."""
    text = f"Question: {item['question']}\nAnswer:"
    return [GenerateUntil(text, stop=("\nQuestion:", "\n\n"), max_tokens=int(run.number("max_tokens")))]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """1 for the right number or text."""
    (found,) = answers
    assert isinstance(found, Continuation)
    reference = item["answer"]
    if "####" in reference:
        said, expected = final_number(found.text), final_number(reference)
        right = said is not None and said == expected
    else:
        said, expected = found.text.strip(), reference
        right = same_text(said, reference)
    shown = {"prompt": item["question"], "answer": found.text.strip(), "said": said, "expected": expected}
    return {**shown, "exact_match": float(right)}


TASK = Task(
    name="exact-match",
    version=1,
    description="Share of answers that end in the right number, as GSM8K counts, or are the right text.",
    request=GenerateUntil,
    data=questions(question=str, answer=str),
    prompt=prompt,
    score=score,
    data_kind="questions",
    metrics=(mean("exact_match"),),
    options={"max_tokens": 256},
)
