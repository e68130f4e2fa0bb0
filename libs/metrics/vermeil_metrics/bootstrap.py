"""Intervals and comparisons by resampling; percentile bootstrap, nothing assumed of the distribution.

Everything is a ratio of sums: a mean is a ratio with ones below, a token-weighted mean has token
counts below. Numerator and denominator of an item are drawn together, and so is a whole group, so
items that hang together (tokens of one document) do not pose as independent evidence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vermeil_errors import InvalidInput

_Floats = NDArray[np.float64]
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
    bottoms = _weights(denominators, tops)
    (tops, bottoms) = _by_group(groups, tops, bottoms)
    _check_options(level, num_resamples)
    value = float(tops.sum() / bottoms.sum())
    if len(tops) == 1:
        return Interval(value, value, value, 0.0)
    resampled = np.concatenate(
        [top / bottom for top, bottom in _resampled_sums(seed, num_resamples, tops, bottoms)]
    )
    return _interval(value, resampled, level)


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
    """Compare two systems' sums over the same items, such as nats over the same documents' bytes.

    The p-value is the share of resampled differences that stray from the observed one by at least
    its own size, which is how they would stray from zero if the systems were equal.
    """
    ours, theirs = _vector("first", first), _vector("second", second)
    if len(ours) != len(theirs):
        raise InvalidInput.for_field("second", len(theirs), f"must have {len(ours)} values, as first has")
    bottoms = np.ones_like(ours) if denominators is None else _weights(denominators, ours)
    interval_of = ratio_interval(
        ours - theirs, bottoms, groups=groups, level=level, num_resamples=num_resamples, seed=seed
    )
    tops, bottoms = _by_group(groups, ours - theirs, bottoms)
    num_extreme = 0
    for top, bottom in _resampled_sums(seed, num_resamples, tops, bottoms):
        num_extreme += int(
            np.count_nonzero(np.abs(top / bottom - interval_of.value) >= abs(interval_of.value))
        )
    return Comparison(interval_of, (num_extreme + 1) / (num_resamples + 1))


def _interval(value: float, resampled: _Floats, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


def _resampled_sums(
    seed: int, num_resamples: int, tops: _Floats, bottoms: _Floats
) -> Iterator[tuple[_Floats, _Floats]]:
    """Sums over resamples, some at a time; resamples whose denominator is zero are left out."""
    generator = np.random.default_rng(seed)
    num_at_once = max(1, _MAX_DRAWS // len(tops))
    for start in range(0, num_resamples, num_at_once):
        shape = (min(num_at_once, num_resamples - start), len(tops))
        drawn = generator.integers(0, len(tops), size=shape)
        top, bottom = tops[drawn].sum(axis=1), bottoms[drawn].sum(axis=1)
        yield top[bottom > 0], bottom[bottom > 0]


def _by_group(groups: Sequence[object] | None, tops: _Floats, bottoms: _Floats) -> tuple[_Floats, _Floats]:
    if groups is None:
        return tops, bottoms
    if len(groups) != len(tops):
        raise InvalidInput.for_field(
            "groups", len(groups), f"must name the group of each of {len(tops)} items"
        )
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((2, index.max() + 1))
    np.add.at(sums[0], index, tops)
    np.add.at(sums[1], index, bottoms)
    return sums[0], sums[1]


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
