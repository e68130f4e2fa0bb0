"""How far a cloud of generated points is from a cloud of real ones. Knows no pictures and no network.

Points are features of samples; what space they live in decides what the numbers mean, so callers name
it. N generated, M real, D dimensions, K neighbours.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vermeil_errors import InvalidInput

_Floats = NDArray[np.float64]
_ROWS_AT_ONCE = 1024


def frechet_distance(features_ND: ArrayLike, reference_MD: ArrayLike) -> float:
    """Squared distance of the Gaussians fitted to both clouds: the formula of FID (1706.08500)."""
    return frechet_to(reference_MD)(features_ND)


def frechet_to(reference_MD: ArrayLike) -> Callable[[ArrayLike], float]:
    """`frechet_distance` to a reference that is measured once, for a jackknife's many sets."""
    _, reference = _clouds(reference_MD, reference_MD, at_least=2)
    mean, covariance = reference.mean(axis=0), np.atleast_2d(np.cov(reference, rowvar=False))
    root = cache(lambda: _root(covariance))

    def distance(features_ND: ArrayLike) -> float:
        features, _ = _clouds(features_ND, reference, at_least=2)
        num, dimensions = features.shape
        centred = (features - features.mean(axis=0)) / np.sqrt(num - 1)
        # tr (AB)^½ of A = XᵀX: AB has the eigenvalues of X B Xᵀ, and of B^½ A B^½; the smaller is quicker.
        if num < dimensions:
            product = centred @ covariance @ centred.T
        else:
            product = root() @ (centred.T @ centred) @ root()
        overlap = np.sqrt(np.clip(np.linalg.eigvalsh(product), 0, None)).sum()
        mean_gap = features.mean(axis=0) - mean
        return float(mean_gap @ mean_gap + (centred**2).sum() + np.trace(covariance) - 2 * overlap)

    return distance


def kernel_distance(features_ND: ArrayLike, reference_MD: ArrayLike) -> float:
    """Unbiased squared MMD with the cubic kernel (x·y/D + 1)³: the formula of KID (1801.01401)."""
    return kernel_to(reference_MD)(features_ND)


def kernel_to(reference_MD: ArrayLike) -> Callable[[ArrayLike], float]:
    """`kernel_distance` to a reference that is measured once, for a jackknife's many sets."""
    _, reference = _clouds(reference_MD, reference_MD, at_least=2)
    outer = _among_themselves(reference)

    def distance(features_ND: ArrayLike) -> float:
        features, _ = _clouds(features_ND, reference, at_least=2)
        return float(_among_themselves(features) + outer - 2 * _kernel(features, reference).mean())

    return distance


def _among_themselves(points_ND: _Floats) -> float:
    """The mean kernel of two different points."""
    kernel, num = _kernel(points_ND, points_ND), len(points_ND)
    return float((kernel.sum() - np.trace(kernel)) / (num * (num - 1)))


def in_manifold(points_ND: ArrayLike, manifold_MD: ArrayLike, num_neighbours: int = 5) -> NDArray[np.bool_]:
    """Which points lie within a manifold: in the ball of one of its points that reaches its K-th neighbour.

    Its mean is precision (generated in real) or recall (real in generated), 1904.06991.
    """
    points, manifold = _clouds(points_ND, manifold_MD, at_least=num_neighbours + 1)
    radii_M = neighbour_radii(manifold, num_neighbours)
    return np.concatenate([(rows <= radii_M).any(axis=1) for rows in _distances(points, manifold)])


def densities(points_ND: ArrayLike, manifold_MD: ArrayLike, num_neighbours: int = 5) -> _Floats:
    """For every point, how many of the manifold's balls hold it, over K. The mean is density (2002.09797)."""
    points, manifold = _clouds(points_ND, manifold_MD, at_least=num_neighbours + 1)
    radii_M = neighbour_radii(manifold, num_neighbours)
    counts = [(rows <= radii_M).sum(axis=1) for rows in _distances(points, manifold)]
    return np.concatenate(counts) / num_neighbours


def covered(points_ND: ArrayLike, manifold_MD: ArrayLike, num_neighbours: int = 5) -> NDArray[np.bool_]:
    """For every point of the manifold, whether its ball holds one of the points; the mean is coverage."""
    points, manifold = _clouds(points_ND, manifold_MD, at_least=num_neighbours + 1)
    nearest_M, _ = nearest(manifold, points)
    return nearest_M <= neighbour_radii(manifold, num_neighbours)


def nearest(points_ND: ArrayLike, others_MD: ArrayLike) -> tuple[_Floats, NDArray[np.intp]]:
    """Distance to the nearest of the others, and which it is."""
    points, others = _clouds(points_ND, others_MD, at_least=1)
    found = [(rows.min(axis=1), rows.argmin(axis=1)) for rows in _distances(points, others)]
    distances, places = zip(*found, strict=True)
    return np.concatenate(distances), np.concatenate(places)


def neighbour_radii(points_ND: _Floats, num_neighbours: int) -> _Floats:
    """Distance of every point to its K-th nearest neighbour, itself left out."""
    rows = _distances(points_ND, points_ND)
    return np.concatenate([np.partition(each, num_neighbours, axis=1)[:, num_neighbours] for each in rows])


def _distances(points_ND: _Floats, others_MD: _Floats) -> Iterator[_Floats]:
    """Euclidean distances, some rows at a time."""
    squares_M = (others_MD**2).sum(axis=1)
    for start in range(0, len(points_ND), _ROWS_AT_ONCE):
        rows = points_ND[start : start + _ROWS_AT_ONCE]
        squared = (rows**2).sum(axis=1)[:, None] + squares_M - 2 * rows @ others_MD.T
        yield np.sqrt(np.clip(squared, 0, None))


def _kernel(first: _Floats, second: _Floats) -> _Floats:
    return np.asarray((first @ second.T / first.shape[1] + 1) ** 3)


def _root(symmetric: _Floats) -> _Floats:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def _clouds(first: ArrayLike, second: ArrayLike, *, at_least: int) -> tuple[_Floats, _Floats]:
    ours, theirs = np.asarray(first, np.float64), np.asarray(second, np.float64)
    for name, cloud in (("features", ours), ("reference", theirs)):
        if cloud.ndim != 2 or not cloud.size:
            raise InvalidInput.for_field(name, cloud.shape, "must be rows of numbers, one a sample")
        if not np.isfinite(cloud).all():
            raise InvalidInput.for_field(name, None, "holds a number that is not finite")
    if ours.shape[1] != theirs.shape[1]:
        raise InvalidInput.for_field(
            "features", ours.shape[1], f"have other dimensions than the reference, {theirs.shape[1]}"
        )
    if at_least > 1 and min(len(ours), len(theirs)) < at_least:
        raise InvalidInput.for_field(
            "features", min(len(ours), len(theirs)), f"are too few samples; {at_least} are needed"
        )
    return ours, theirs
