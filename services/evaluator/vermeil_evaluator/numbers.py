"""From rows and arrays to numbers with intervals, and to differences of two reports' numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vermeil_errors import InvalidInput
from vermeil_metrics import (
    Comparison,
    Interval,
    frechet_to,
    jackknife_comparison,
    jackknife_interval,
    kernel_to,
    statistic,
)

Rows = Sequence[Mapping[str, Any]]
Arrays = Mapping[str, NDArray[np.float32]]

SET_STATISTICS: Mapping[str, Callable[[ArrayLike], Callable[[ArrayLike], float]]] = {
    "frechet": frechet_to,
    "kernel": kernel_to,
}
"""Of two arrays: from the reference to a function of the features."""
_OF_ARRAYS = {"array_mean": "mean"}
"""Statistics of sums whose evidence are arrays: about real pictures, say, which are no items."""


def interval(name: str, fields: Sequence[str], rows: Rows, arrays: Arrays, seed: int) -> Interval:
    """The number a statistic makes of these fields of the rows, or of these arrays."""
    if name in SET_STATISTICS:
        features, reference = (arrays[field] for field in fields)
        distance = SET_STATISTICS[name](reference)
        return jackknife_interval(len(features), lambda kept: distance(features[kept]), seed=seed)
    found = statistic(_OF_ARRAYS.get(name, name))
    if name in _OF_ARRAYS:
        return found.interval(found.evidence(*(arrays[field] for field in fields)), seed=seed)
    units = _telling(rows, fields)
    return found.interval(found.evidence(*_columns(units, fields)), groups=groups(units), seed=seed)


def comparison(
    name: str, fields: Sequence[str], first: tuple[Rows, Arrays], second: tuple[Rows, Arrays], seed: int
) -> Comparison:
    """The difference of that number, first minus second, item by item."""
    if name in SET_STATISTICS:
        features, reference = (first[1][field] for field in fields)
        others = second[1][fields[0]]
        distance = SET_STATISTICS[name](reference)
        return jackknife_comparison(
            min(len(features), len(others)),
            lambda kept: distance(features[kept]) - distance(others[kept]),
            seed=seed,
        )
    found = statistic(_OF_ARRAYS.get(name, name))
    if name in _OF_ARRAYS:
        ours, theirs = ([each[1][field] for field in fields] for each in (first, second))
        return found.compare(found.evidence(*ours), found.evidence(*theirs), seed=seed)
    units, counterparts = _telling(first[0], fields), _telling(second[0], fields)
    return found.compare(
        found.evidence(*_columns(units, fields)),
        found.evidence(*_columns(counterparts, fields)),
        groups=groups(units),
        seed=seed,
    )


def evidence_rows(rows: Rows) -> Rows:
    """What is resampled: the blocks of rows that were cut into some, or the rows."""
    if any("blocks" in row for row in rows):
        return [block for row in rows for block in row["blocks"]]
    return rows


def groups(rows: Rows) -> list[str] | None:
    """What every row shares with others; None if every row stands for itself."""
    if not any(row.get("group") for row in rows):
        return None
    return [str(row.get("group") or f"item {row['id']}") for row in rows]


def _columns(rows: Rows, fields: Sequence[str]) -> list[list[Any]]:
    return [[row[field] for row in rows] for field in fields]


def _telling(rows: Rows, fields: Sequence[str]) -> Rows:
    """Rows that have something to say about a number; one at least."""
    found = [row for row in evidence_rows(rows) if all(field in row for field in fields)]
    if not found:
        raise InvalidInput(f"no item has {' and '.join(fields)}, which a metric is made of")
    return found
