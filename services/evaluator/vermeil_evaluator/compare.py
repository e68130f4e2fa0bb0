"""Two reports, item by item: is one model better, or was it luck?

Only numbers of the same task, version, data, limit, options and judge are compared; anything else is
refused with what differs. Both models met the same items, so what counts is the difference of each item.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from vermeil_errors import Conflict
from vermeil_metrics import Interval

from vermeil_evaluator.numbers import comparison, evidence_rows
from vermeil_evaluator.report import Findings, Metric

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """How one number differs."""

    name: str
    """Such as "bits_per_byte"."""
    first: float
    """Of the first model."""
    second: float
    """Of the second."""
    difference: Interval
    """First minus second."""
    p_value: float
    """Chance of a difference at least this large if the two were equally good; two-sided."""
    lower_is_better: bool
    """Which way is up."""

    @property
    def verdict(self) -> str:
        """ "first is better", "second is better", or "no difference shown"."""
        if self.p_value >= SIGNIFICANT or not self.difference.value:
            return "no difference shown"
        first_wins = (self.difference.value < 0) == self.lower_is_better
        return "first is better" if first_wins else "second is better"


@dataclass(frozen=True)
class Compared:
    """How two models differ on a task."""

    task: str
    """The task and its version."""
    first: str
    """The first model."""
    second: str
    """The second."""
    num_items: int
    """Items both met."""
    metrics: tuple[Difference, ...]
    """By number."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Numbers that cannot be compared, and why."""


def compare(first: Findings, second: Findings, *, seed: int = 0) -> Compared:
    """Compare two reports; refused where their numbers do not mean the same."""
    _check(first, second)
    metrics, left_out = [], {}
    theirs = {metric.name: metric for metric in second.report.metrics}
    for metric in first.report.metrics:
        reason = _not_comparable(metric, theirs.get(metric.name), first, second)
        if reason:
            left_out[metric.name] = reason
        else:
            metrics.append(_difference(metric, theirs[metric.name], first, second, seed))
    ours = first.report
    return Compared(ours.task, ours.model, second.report.model, len(first.items), tuple(metrics), left_out)


def _difference(ours: Metric, theirs: Metric, first: Findings, second: Findings, seed: int) -> Difference:
    found = comparison(
        ours.statistic, ours.fields, (first.items, first.arrays), (second.items, second.arrays), seed
    )
    values = ours.interval.value, theirs.interval.value
    return Difference(ours.name, *values, found.difference, found.p_value, ours.lower_is_better)


def _check(first: Findings, second: Findings) -> None:
    one, other = first.report, second.report
    if one.task != other.task:
        what = (
            "versions of the task" if one.definition.get("task") == other.definition.get("task") else "tasks"
        )
        raise Conflict(
            f"the reports are of different {what}: {one.task} and {other.task}", fix="evaluate both anew"
        )
    if one.task_hash != other.task_hash:
        names = sorted(one.definition.keys() | other.definition.keys())
        differing = [name for name in names if one.definition.get(name) != other.definition.get(name)]
        what = " and ".join(differing) or "definition"
        raise Conflict(
            f"the reports of {one.task} differ in their {what}: {one.data} and {other.data}",
            fix="evaluate both models on the same data with the same options",
        )
    if [item["id"] for item in first.items] != [item["id"] for item in second.items]:
        raise Conflict("the reports do not hold the same items", fix="evaluate both anew")


def _not_comparable(ours: Metric, theirs: Metric | None, first: Findings, second: Findings) -> str | None:
    if theirs is None:
        return "only one report has it"
    if not ours.statistic:
        return "the report does not say how it was made"
    if ours.statistic == "perplexity":
        counts = [[item.get("num_tokens") for item in found.items] for found in (first, second)]
        if counts[0] != counts[1]:
            return "the models cut the text into different tokens"
    sizes = [[unit.get("num_bytes") for unit in evidence_rows(found.items)] for found in (first, second)]
    if len(sizes[0]) != len(sizes[1]) or not _same(*sizes):
        return "too few documents: blocks of tokens are resampled, and the models' tokens differ"
    return None


def _same(first: list[float | None], second: list[float | None]) -> bool:
    if any(size is None for size in first + second):
        return first == second
    return bool(np.allclose(np.asarray(first, float), np.asarray(second, float)))
