"""Numbers by name, so that a report can say how its metrics came about and others can compare them.

A statistic is a function of sums of evidence (a few numbers an item), so one bootstrap serves all. Those
that need all items at once, such as a Fréchet distance, are set statistics, jackknifed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vermeil_errors import InvalidInput

from vermeil_metrics.bleu import NUM_COUNTS, bleu
from vermeil_metrics.bootstrap import (
    Comparison,
    Interval,
    SumFunction,
    paired_sums,
    ratio,
    sums_interval,
)
from vermeil_metrics.likelihood import bits_per_byte, perplexity

_Floats = NDArray[np.float64]
SHARE = "share"
"""The mean of what is 0 to 1 by nature, such as right or wrong."""


@dataclass(frozen=True)
class Statistic:
    """A function of sums."""

    name: str
    """Such as "mean"."""
    num_columns: int
    """Numbers an item adds."""
    function: SumFunction
    """From sums (R, K) to values (R,)."""
    link: Callable[[float], float] = lambda value: value
    """An increasing function that turns a value into what is shown, such as exp."""

    def evidence(self, *columns: ArrayLike) -> _Floats:
        """Columns of numbers, or of lists of them, side by side; a mean's lone column gets ones beside it."""
        arrays = [np.asarray(column, np.float64) for column in columns]
        wide = [array[:, None] if array.ndim == 1 else array for array in arrays]
        if self.name in ("mean", SHARE) and len(wide) == 1:
            wide.append(np.ones_like(wide[0]))
        found = np.concatenate(wide, axis=1)
        if found.shape[1] != self.num_columns:
            raise InvalidInput.for_field(
                "evidence", found.shape[1], f"{self.name} needs {self.num_columns} numbers an item"
            )
        return found

    def interval(
        self, evidence_NK: _Floats, *, groups: Sequence[object] | None = None, seed: int = 0
    ) -> Interval:
        """The number with its interval."""
        found = sums_interval(evidence_NK, self.function, groups=groups, seed=seed).map(self.link)
        return _exact(found, evidence_NK, groups) if self.name == SHARE else found

    def compare(
        self,
        first_NK: _Floats,
        second_NK: _Floats,
        *,
        groups: Sequence[object] | None = None,
        seed: int = 0,
    ) -> Comparison:
        """First minus second, as shown, on the same items."""
        linked = np.vectorize(self.link, otypes=[np.float64])

        def shown(sums_RK: _Floats) -> _Floats:
            return np.asarray(linked(self.function(sums_RK)))

        return paired_sums(first_NK, second_NK, shown, groups=groups, seed=seed)


def _exact(found: Interval, evidence_N2: _Floats, groups: Sequence[object] | None) -> Interval:
    """Of none or all, where no resample differs: Clopper and Pearson's (1934); a group is one trial."""
    num_trials = len(evidence_N2) if groups is None else len(set(groups))
    if num_trials < 2 or found.value not in (0.0, 1.0):
        return found
    reach = 1 - ((1 - found.level) / 2) ** (1 / num_trials)
    low, high = (0.0, reach) if found.value == 0 else (1 - reach, 1.0)
    return Interval(found.value, low, high, found.level)


def _exp(mean: float) -> float:
    return math.nan if math.isnan(mean) else perplexity(mean, 1)


STATISTICS: Mapping[str, Statistic] = {
    each.name: each
    for each in (
        Statistic("mean", 2, ratio),
        Statistic(SHARE, 2, ratio),
        Statistic("ratio", 2, ratio),
        Statistic("bits_per_byte", 2, ratio, lambda mean: bits_per_byte(mean, 1)),
        Statistic("perplexity", 2, ratio, _exp),
        Statistic("bleu", NUM_COUNTS, bleu),
    )
}
"""mean(value), share(value of 0 to 1), ratio(over, under), bits_per_byte(nats, bytes), perplexity(nats,
tokens), bleu(counts)."""


def statistic(name: str) -> Statistic:
    """The statistic with this name."""
    found = STATISTICS.get(name)
    if found is None:
        raise InvalidInput.for_field("statistic", name, "is unknown", f"use {', '.join(STATISTICS)}")
    return found
