"""Which of some answers does the model find likeliest? By sum, and by mean over bytes, as lm-eval has it.

A line: {"question": "…", "choices": ["…", "…"], "answer": 0}; the answer is a number from 0, or the choice.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections.abc import Mapping, Sequence
from typing import Any

from vermeil_evaluator.item import Item
from vermeil_evaluator.questions import questions
from vermeil_evaluator.requests import Answer, Loglikelihood, TokenLikelihoods
from vermeil_evaluator.task import Row, Run, Task, mean


def problem(line: Mapping[str, Any]) -> str | None:
    """What is wrong with a line that has all fields."""
    choices, answer = line["choices"], line["answer"]
    if len(choices) < 2 or not all(isinstance(choice, str) and choice for choice in choices):
        return "field 'choices' must be two or more texts"
    known = 0 <= answer < len(choices) if isinstance(answer, int) else answer in choices
    return None if known else f"field 'answer' = {answer!r} is none of {len(choices)} choices"


def prompt(item: Item, run: Run) -> Sequence[Loglikelihood]:
    """Every choice after the question."""
    context = f"Question: {item['question']}\nAnswer:"
    return [Loglikelihood(f" {choice}", context) for choice in item["choices"]]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """Whether the right one is the likeliest."""
    choices, answer = item["choices"], item["answer"]
    right = answer if isinstance(answer, int) else choices.index(answer)
    nats = [found.nats for found in answers if isinstance(found, TokenLikelihoods)]
    by_byte = [cost / len(choice.encode()) for cost, choice in zip(nats, choices, strict=True)]
    said, said_by_byte = (costs.index(min(costs)) for costs in (nats, by_byte))
    return {
        "prompt": item["question"],
        "answer": choices[said_by_byte],
        "expected": choices[right],
        "acc": float(said == right),
        "acc_norm": float(said_by_byte == right),
        "nats": nats,
    }


TASK = Task(
    name="multiple-choice",
    version=1,
    description="Accuracy at choosing the right answer, by its likelihood and by its likelihood a byte.",
    request=Loglikelihood,
    data=questions(problem, question=str, choices=list, answer=(int, str)),
    prompt=prompt,
    score=score,
    data_kind="questions",
    metrics=(mean("acc"), mean("acc_norm")),
)
