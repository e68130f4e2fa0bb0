"""From rows and arrays to numbers with intervals, and to differences of two reports' numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vermeil_errors import InvalidInput
from vermeil_metrics import (
    Comparison,
    Interval,
    frechet_distance,
    jackknife_comparison,
    jackknife_interval,
    kernel_distance,
    statistic,
)

Rows = Sequence[Mapping[str, Any]]
Arrays = Mapping[str, NDArray[np.float32]]

SET_STATISTICS: Mapping[str, Callable[[NDArray[np.float32], NDArray[np.float32]], float]] = {
    "frechet": frechet_distance,
    "kernel": kernel_distance,
}
"""Functions of two arrays, the features and the reference."""


def interval(name: str, fields: Sequence[str], rows: Rows, arrays: Arrays, seed: int) -> Interval:
    """The number a statistic makes of these fields of the rows, or of these arrays."""
    if name in SET_STATISTICS:
        features, reference = (arrays[field] for field in fields)
        distance = SET_STATISTICS[name]
        return jackknife_interval(len(features), lambda kept: distance(features[kept], reference), seed=seed)
    units = evidence_rows(rows)
    found = statistic(name)
    return found.interval(found.evidence(*_columns(units, fields)), groups=groups(units), seed=seed)


def comparison(
    name: str, fields: Sequence[str], first: tuple[Rows, Arrays], second: tuple[Rows, Arrays], seed: int
) -> Comparison:
    """The difference of that number, first minus second, item by item."""
    if name in SET_STATISTICS:
        ours, reference = (first[1][field] for field in fields)
        theirs = second[1][fields[0]]
        distance = SET_STATISTICS[name]
        return jackknife_comparison(
            min(len(ours), len(theirs)),
            lambda kept: distance(ours[kept], reference) - distance(theirs[kept], reference),
            seed=seed,
        )
    found = statistic(name)
    units, others = evidence_rows(first[0]), evidence_rows(second[0])
    return found.compare(
        found.evidence(*_columns(units, fields)),
        found.evidence(*_columns(others, fields)),
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
    for row in rows:
        for field in fields:
            if field not in row:
                raise InvalidInput(f"item {row.get('id')} has no {field!r}, which a metric is made of")
    return [[row[field] for row in rows] for field in fields]
