"""How much of what people would have written does the model write: BLEU, ROUGE-L, CIDEr-D.

A line: {"prompt": "…", "references": ["…", …]}.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

from collections.abc import Mapping, Sequence
from typing import Any

from vermeil_evaluator.item import Item
from vermeil_evaluator.overlap import BLEU, CIDER_D, ROUGE_L, conclude, overlap
from vermeil_evaluator.questions import questions
from vermeil_evaluator.requests import Answer, Continuation, GenerateUntil
from vermeil_evaluator.task import Row, Run, Task


def problem(line: Mapping[str, Any]) -> str | None:
    """What is wrong with a line that has all fields."""
    references = line["references"]
    if references and all(isinstance(each, str) and each.strip() for each in references):
        return None
    return "field 'references' must be one or more texts"


def prompt(item: Item, run: Run) -> Sequence[GenerateUntil]:
    """The prompt, until the line ends."""
    return [GenerateUntil(item["prompt"], stop=("\n",), max_tokens=int(run.number("max_tokens")))]


def score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    """What a sentence tells by itself."""
    (found,) = answers
    assert isinstance(found, Continuation)
    return {"prompt": item["prompt"], **overlap(found.text.strip(), item["references"])}


TASK = Task(
    name="text-overlap",
    version=1,
    description="BLEU (0 to 100), ROUGE-L (0 to 1) and CIDEr-D (0 to 10) of continuations to references.",
    request=GenerateUntil,
    data=questions(problem, prompt=str, references=list),
    prompt=prompt,
    score=score,
    data_kind="questions",
    metrics=(BLEU, ROUGE_L, CIDER_D),
    conclude=conclude,
    options={"max_tokens": 64},
)
