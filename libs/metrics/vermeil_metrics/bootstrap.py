"""Intervals and comparisons by resampling; percentile bootstrap, nothing assumed of the distribution.

Everything is a function of sums: a mean is a ratio with ones below, a token-weighted mean has token
counts below, BLEU is made of ten counts. What an item adds is drawn together, and so is a whole group, so
items that hang together (tokens of one document) do not pose as independent evidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vermeil_errors import InvalidInput

_Floats = NDArray[np.float64]
SumFunction = Callable[[_Floats], _Floats]
"""From sums of evidence, one row a resample (R, K), to a number each (R,); nan where there is none."""
_MAX_DRAWS = 2**22  # random indices held at once: 32 MiB


@dataclass(frozen=True)
class Interval:
    """A number and how far it may be from the truth."""

    value: float
    """The number itself, from all items."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    level: float
    """Share of such intervals that hold the truth; 0 when one group gives no idea of the spread."""

    def map(self, increasing: Callable[[float], float]) -> "Interval":
        """The interval of an increasing function of the number, such as exp."""
        return Interval(increasing(self.value), increasing(self.low), increasing(self.high), self.level)


@dataclass(frozen=True)
class Comparison:
    """How two systems differ on the same items."""

    difference: Interval
    """First minus second."""
    p_value: float
    """Chance of a difference at least this large if the two were equal; two-sided."""


def bootstrap_interval(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of the (weighted) mean of `values`, resampled by item, or by group if `groups` are given."""
    array = _vector("values", values)
    ones = np.ones_like(array) if weights is None else _weights(weights, array)
    return ratio_interval(
        array * ones, ones, groups=groups, level=level, num_resamples=num_resamples, seed=seed
    )


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of sum(numerators) / sum(denominators), such as nats over tokens, one pair a document."""
    tops = _vector("numerators", numerators)
    evidence_N2 = np.stack([tops, _weights(denominators, tops)], axis=1)
    return sums_interval(
        evidence_N2, ratio, groups=groups, level=level, num_resamples=num_resamples, seed=seed
    )


def ratio(sums_R2: _Floats) -> _Floats:
    """The first sum over the second; nan where the second is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums_R2[:, 1] > 0, sums_R2[:, 0] / sums_R2[:, 1], np.nan)


def sums_interval(
    evidence_NK: _Floats,
    function: SumFunction,
    *,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of any function of summed evidence, K numbers an item; BLEU's counts, for example."""
    evidence_GK = _by_group(groups, _matrix("evidence", evidence_NK))
    _check_options(level, num_resamples)
    value = float(function(evidence_GK.sum(axis=0, keepdims=True))[0])
    if len(evidence_GK) == 1:
        return Interval(value, value, value, 0.0)
    return _interval(value, _resample(evidence_GK, function, num_resamples, seed), level)


def paired_sums(
    first_NK: _Floats,
    second_NK: _Floats,
    function: SumFunction,
    *,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare a function of two systems' evidence about the same items, drawn together.

    The p-value is the share of resampled differences that stray from the observed one by at least
    its own size, which is how they would stray from zero if the systems were equal.
    """
    ours, theirs = _matrix("first", first_NK), _matrix("second", second_NK)
    if ours.shape != theirs.shape:
        raise InvalidInput.for_field("second", theirs.shape, f"must be {ours.shape}, as first is")
    num_columns = ours.shape[1]

    def difference(sums: _Floats) -> _Floats:
        return function(sums[:, :num_columns]) - function(sums[:, num_columns:])

    both = _by_group(groups, np.concatenate([ours, theirs], axis=1))
    _check_options(level, num_resamples)
    value = float(difference(both.sum(axis=0, keepdims=True))[0])
    if len(both) == 1:
        return Comparison(Interval(value, value, value, 0.0), 1.0)
    resampled = _resample(both, difference, num_resamples, seed)
    num_extreme = int(np.count_nonzero(np.abs(resampled - value) >= abs(value)))
    p_value = (num_extreme + 1) / (len(resampled) + 1)
    return Comparison(_interval(value, resampled, level), p_value)


def paired_comparison(
    first: ArrayLike,
    second: ArrayLike,
    denominators: ArrayLike | None = None,
    *,
    groups: Sequence[object] | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two systems' sums over the same items, such as nats over the same documents' bytes."""
    ours, theirs = _vector("first", first), _vector("second", second)
    if len(ours) != len(theirs):
        raise InvalidInput.for_field("second", len(theirs), f"must have {len(ours)} values, as first has")
    bottoms = np.ones_like(ours) if denominators is None else _weights(denominators, ours)
    first_N2, second_N2 = (np.stack([tops, bottoms], axis=1) for tops in (ours, theirs))
    return paired_sums(
        first_N2, second_N2, ratio, groups=groups, level=level, num_resamples=num_resamples, seed=seed
    )


def _interval(value: float, resampled: _Floats, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


def _resample(evidence_NK: _Floats, function: SumFunction, num_resamples: int, seed: int) -> _Floats:
    """The function's value for every resample, some at a time; those that have none are left out."""
    generator = np.random.default_rng(seed)
    columns = np.ascontiguousarray(evidence_NK.T)
    num_items = len(evidence_NK)
    num_at_once = max(1, _MAX_DRAWS // num_items)
    values = []
    for start in range(0, num_resamples, num_at_once):
        shape = (min(num_at_once, num_resamples - start), num_items)
        drawn = generator.integers(0, num_items, size=shape)
        values.append(function(np.stack([column[drawn].sum(axis=1) for column in columns], axis=1)))
    found = np.concatenate(values)
    return found[~np.isnan(found)]


def _by_group(groups: Sequence[object] | None, evidence_NK: _Floats) -> _Floats:
    if groups is None:
        return evidence_NK
    if len(groups) != len(evidence_NK):
        raise InvalidInput.for_field(
            "groups", len(groups), f"must name the group of each of {len(evidence_NK)} items"
        )
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((index.max() + 1, evidence_NK.shape[1]))
    np.add.at(sums, index, evidence_NK)
    return sums


def _matrix(name: str, values: ArrayLike) -> _Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise InvalidInput.for_field(name, array.shape, "must be at least one row of numbers")
    if not np.isfinite(array).all():
        raise InvalidInput.for_field(name, None, "holds a number that is not finite", "leave such items out")
    return array


def _vector(name: str, values: ArrayLike) -> _Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise InvalidInput.for_field(name, array.shape, "must be a list of at least one number")
    if not np.isfinite(array).all():
        raise InvalidInput.for_field(name, None, "holds a number that is not finite", "leave such items out")
    return array


def _weights(weights: ArrayLike, like: _Floats) -> _Floats:
    array = _vector("weights", weights)
    if len(array) != len(like):
        raise InvalidInput.for_field("weights", len(array), f"must be {len(like)} numbers, one an item")
    if (array < 0).any() or not array.sum() > 0:
        raise InvalidInput.for_field("weights", None, "must not be negative, and not all zero")
    return array


def _check_options(level: float, num_resamples: int) -> None:
    if not 0 < level < 1:
        raise InvalidInput.for_field("level", level, "must be between 0 and 1", "write 0.95")
    if num_resamples < 1:
        raise InvalidInput.for_field("num_resamples", num_resamples, "must be at least 1", "write 2000")
