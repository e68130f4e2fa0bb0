"""Intervals of numbers that need a whole set at once, such as a Fréchet distance between two clouds.

Resampling with replacement would put copies into the set, and distances of sets with copies are larger
than those of sets without. So items are left out instead, one block of them at a time (delete-a-block
jackknife), and the spread of what remains gives the standard error; the interval is a normal one.
"""

from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from vermeil_errors import InvalidInput

from vermeil_metrics.bootstrap import Comparison, Interval

NUM_BLOCKS = 40
Kept = NDArray[np.intp]


def jackknife_interval(
    num_items: int,
    function: Callable[[Kept], float],
    *,
    level: float = 0.95,
    num_blocks: int = NUM_BLOCKS,
    seed: int = 0,
) -> Interval:
    """Interval of `function`, which is given the numbers of the items it may look at."""
    value = function(np.arange(num_items))
    error = _standard_error(num_items, function, num_blocks, seed)
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return Interval(value, value - reach, value + reach, level if error else 0.0)


def jackknife_comparison(
    num_items: int,
    difference: Callable[[Kept], float],
    *,
    level: float = 0.95,
    num_blocks: int = NUM_BLOCKS,
    seed: int = 0,
) -> Comparison:
    """The difference of two systems on the same items, and the chance of one as large if they were equal."""
    found = jackknife_interval(num_items, difference, level=level, num_blocks=num_blocks, seed=seed)
    error = (found.high - found.low) / 2 / NormalDist().inv_cdf((1 + level) / 2)
    if not error:
        return Comparison(found, 0.0 if found.value else 1.0)
    return Comparison(found, 2 * NormalDist().cdf(-abs(found.value) / error))


def _standard_error(num_items: int, function: Callable[[Kept], float], num_blocks: int, seed: int) -> float:
    if num_items < 2:
        raise InvalidInput.for_field("num_items", num_items, "are too few to leave any out", "use 2 or more")
    values = np.array([function(kept) for kept in _kept(num_items, min(num_blocks, num_items), seed)])
    return float(np.sqrt((len(values) - 1) * values.var()))


def _kept(num_items: int, num_blocks: int, seed: int) -> Iterator[Kept]:
    order = np.random.default_rng(seed).permutation(num_items)
    for block in np.array_split(order, num_blocks):
        yield np.delete(np.arange(num_items), block)
