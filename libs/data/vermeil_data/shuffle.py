"""Random numbers that are a function of (seed, what for, index): no state, the same with every numpy.

splitmix64 (Steele, Lea and Flood, 2014) as a hash of counters.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashed(indices: npt.NDArray[np.int64], *key: int) -> npt.NDArray[np.uint64]:
    """64 random bits for each index under a key."""
    return _mixed(_origin(key) + indices.astype(np.uint64))


def permutation(size: int, *key: int) -> npt.NDArray[np.int64]:
    """The numbers 0 to size - 1 in an order that depends on the key alone."""
    return np.argsort(hashed(np.arange(size, dtype=np.int64), *key), kind="stable")


@lru_cache(maxsize=64)
def _origin(key: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    origin = np.zeros(1, np.uint64)
    for part in key:
        origin = _mixed(origin + np.array([part & 0xFFFFFFFFFFFFFFFF], np.uint64))
    return origin


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = values * _GOLDEN + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
