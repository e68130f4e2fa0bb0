"""Distances of clouds agree with torchmetrics, with closed forms and with their definitions done slowly."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd
from vermeil_errors import InvalidInput
from vermeil_metrics import (
    covered,
    densities,
    frechet_distance,
    frechet_to,
    in_manifold,
    kernel_distance,
    kernel_to,
    nearest,
)

Cloud = NDArray[np.float64]


def cloud(num: int, dimensions: int, seed: int, shift: float = 0.0) -> Cloud:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(dimensions, dimensions))
    return generator.normal(shift, 1.0, size=(num, dimensions)) @ mixing


def test_the_frechet_distance_is_torchmetrics_fid_of_the_same_features() -> None:
    ours, theirs = cloud(300, 24, 1), cloud(400, 24, 2, shift=0.3)
    moments = [
        (torch.from_numpy(each).mean(dim=0), torch.from_numpy(np.cov(each, rowvar=False)))
        for each in (theirs, ours)
    ]
    expected = float(_compute_fid(moments[0][0], moments[0][1], moments[1][0], moments[1][1]))
    assert frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_needs_no_full_rank() -> None:
    ours, theirs = cloud(10, 24, 1), cloud(12, 24, 2)
    root_of_product = np.linalg.eigvals(np.cov(ours, rowvar=False) @ np.cov(theirs, rowvar=False))
    overlap = np.sqrt(np.clip(root_of_product.real, 0, None)).sum()
    gap = ours.mean(axis=0) - theirs.mean(axis=0)
    traces = np.cov(ours, rowvar=False).trace() + np.cov(theirs, rowvar=False).trace()
    assert frechet_distance(ours, theirs) == pytest.approx(gap @ gap + traces - 2 * overlap, rel=1e-6)


def test_a_cloud_is_at_no_distance_from_itself_and_a_shift_counts_squared() -> None:
    points = cloud(200, 8, 3)
    assert frechet_distance(points, points) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(points + 2.0, points) == pytest.approx(8 * 4, rel=1e-6)


def test_the_kernel_distance_is_torchmetrics_kid_of_the_same_features() -> None:
    ours, theirs = cloud(100, 16, 4), cloud(100, 16, 5, shift=0.2)
    expected = float(poly_mmd(torch.from_numpy(theirs), torch.from_numpy(ours)))
    assert kernel_distance(ours, theirs) == pytest.approx(expected, rel=1e-9)


def test_a_reference_may_be_measured_once_for_sets_of_any_size() -> None:
    reference = cloud(60, 24, 1)
    frechet, kernel = frechet_to(reference), kernel_to(reference)
    for num in (5, 24, 23, 200):
        points = cloud(num, 24, num, shift=0.1)
        gap = points.mean(axis=0) - reference.mean(axis=0)
        ours, theirs = np.cov(points, rowvar=False), np.cov(reference, rowvar=False)
        overlap = np.sqrt(np.clip(np.linalg.eigvals(ours @ theirs).real, 0, None)).sum()
        expected = gap @ gap + ours.trace() + theirs.trace() - 2 * overlap
        assert frechet(points) == pytest.approx(expected, rel=1e-6)
        assert kernel(points) == kernel_distance(points, reference)


def slow_distances(ours: Cloud, theirs: Cloud) -> Cloud:
    return np.asarray(np.linalg.norm(ours[:, None] - theirs[None], axis=2))


@pytest.mark.parametrize("num_neighbours", [1, 5])
def test_manifolds_are_the_balls_their_definition_draws(
    num_neighbours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermeil_metrics.distances._ROWS_AT_ONCE", 7)
    generated, real = cloud(40, 3, 6, shift=0.5), cloud(50, 3, 7)
    between = slow_distances(generated, real)
    radii = np.sort(slow_distances(real, real), axis=1)[:, num_neighbours]
    within = between <= radii
    assert (in_manifold(generated, real, num_neighbours) == within.any(axis=1)).all()
    assert densities(generated, real, num_neighbours) == pytest.approx(within.sum(axis=1) / num_neighbours)
    assert (covered(generated, real, num_neighbours) == within.any(axis=0)).all()
    distance, place = nearest(generated, real)
    assert distance == pytest.approx(between.min(axis=1))
    assert (place == between.argmin(axis=1)).all()


def test_the_same_distribution_is_dense_and_covered() -> None:
    generator = np.random.default_rng(8)
    generated, real = generator.normal(size=(2, 800, 4))
    assert densities(generated, real).mean() == pytest.approx(1.0, abs=0.1)
    assert covered(generated, real).mean() == pytest.approx(1 - 0.5**5, abs=0.04)  # 1 - 1/2^K as N grows


def test_a_collapsed_generator_is_precise_and_covers_little() -> None:
    generator = np.random.default_rng(9)
    real = generator.normal(size=(300, 4))
    generated = real[:3].repeat(100, axis=0) + generator.normal(scale=1e-3, size=(300, 4))
    assert in_manifold(generated, real).mean() == 1.0
    assert covered(generated, real).mean() < 0.1
    assert in_manifold(real, generated).mean() < 0.05


@pytest.mark.parametrize(
    ("features", "reference", "problem"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "other dimensions"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "too few samples"),
        (np.zeros((0, 3)), np.zeros((5, 3)), "rows of numbers"),
        (np.zeros(5), np.zeros((5, 3)), "rows of numbers"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "not finite"),
    ],
)
def test_impossible_clouds_are_refused(features: Cloud, reference: Cloud, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        frechet_distance(features, reference)
