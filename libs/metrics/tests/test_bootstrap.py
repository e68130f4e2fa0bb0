"""Intervals agree with full enumeration, with theory, and with themselves."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vermeil_errors import InvalidInput
from vermeil_metrics import bootstrap_interval, paired_comparison, ratio_interval

NUMBERS = st.floats(-1e6, 1e6)
WEIGHTS = st.floats(0.01, 1e3)
PAIRS = st.lists(st.tuples(NUMBERS, WEIGHTS), min_size=2, max_size=20)


def enumerated(tops: list[float], bottoms: list[float]) -> np.ndarray:
    """The ratio of every possible resample: the distribution that random resampling approaches."""
    everything = itertools.product(range(len(tops)), repeat=len(tops))
    return np.array([sum(tops[i] for i in drawn) / sum(bottoms[i] for i in drawn) for drawn in everything])


def test_the_interval_is_that_of_all_possible_resamples() -> None:
    nats, tokens = [3.0, 8.0, 2.0, 11.0, 5.0], [2.0, 3.0, 1.0, 7.0, 2.0]
    low, high = np.quantile(enumerated(nats, tokens), [0.05, 0.95])
    found = ratio_interval(nats, tokens, level=0.9, num_resamples=100_000)
    assert found.value == pytest.approx(sum(nats) / sum(tokens))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
    assert found.level == 0.9


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, size=4000)
    found = bootstrap_interval(values)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(4000), rel=0.06)


def test_the_interval_of_a_ratio_is_as_wide_as_the_delta_method_says() -> None:
    generator = np.random.default_rng(2)
    tokens = generator.integers(10, 500, size=3000).astype(float)
    nats = tokens * generator.normal(2.0, 0.5, size=3000)
    found = ratio_interval(nats, tokens)
    residual = nats - found.value * tokens
    error = residual.std() * math.sqrt(3000) / tokens.sum()
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_ninety_of_a_hundred_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(3)
    samples = generator.exponential(1.0, size=(400, 60))
    intervals = [bootstrap_interval(sample, level=0.9, num_resamples=300) for sample in samples]
    coverage = np.mean([interval.low <= 1.0 <= interval.high for interval in intervals])
    assert 0.84 <= coverage <= 0.94  # percentile intervals of 60 skewed items cover a little less


def test_items_of_one_group_are_one_piece_of_evidence() -> None:
    generator = np.random.default_rng(4)
    document_means = generator.normal(0.0, 1.0, size=50)
    values, groups = np.repeat(document_means, 40), np.repeat(np.arange(50), 40)
    naive = bootstrap_interval(values)
    honest = bootstrap_interval(values, groups=list(groups))
    by_document = bootstrap_interval(document_means)
    assert (honest.low, honest.high) == pytest.approx((by_document.low, by_document.high))
    assert (honest.high - honest.low) > 4 * (naive.high - naive.low)


def test_groups_may_be_named_by_anything() -> None:
    named = ratio_interval([1, 2, 3, 4], [1, 1, 1, 1], groups=["b", "a", "b", "a"])
    numbered = ratio_interval([1, 2, 3, 4], [1, 1, 1, 1], groups=[1, 0, 1, 0])
    assert named == numbered


def test_one_group_gives_no_interval_and_says_so() -> None:
    found = ratio_interval([6.0], [2.0])
    assert (found.value, found.low, found.high, found.level) == (3.0, 3.0, 3.0, 0.0)
    assert ratio_interval([1.0, 5.0], [1.0, 1.0], groups=["x", "x"]).level == 0.0


@given(PAIRS)
def test_an_interval_lies_within_the_items(pairs: list[tuple[float, float]]) -> None:
    values, weights = zip(*pairs, strict=True)
    found = bootstrap_interval(values, weights, num_resamples=50)
    margin = 1e-9 * max(map(abs, values))
    assert min(values) - margin <= found.low <= found.high <= max(values) + margin


@given(PAIRS, st.floats(0.1, 10.0))
def test_only_the_proportions_of_weights_matter(pairs: list[tuple[float, float]], scale: float) -> None:
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    one = bootstrap_interval(values, weights, num_resamples=50)
    other = bootstrap_interval(values, weights * scale, num_resamples=50)
    wanted = pytest.approx((one.value, one.low, one.high), rel=1e-6, abs=1e-3)
    assert (other.value, other.low, other.high) == wanted


@given(PAIRS, st.integers(0, 2**32))
def test_a_seed_repeats_its_interval(pairs: list[tuple[float, float]], seed: int) -> None:
    values, weights = zip(*pairs, strict=True)
    once, again = (bootstrap_interval(values, weights, num_resamples=20, seed=seed) for _ in range(2))
    assert once == again


def test_many_items_are_resampled_in_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=100)
    at_once = bootstrap_interval(values, num_resamples=500)
    monkeypatch.setattr("vermeil_metrics.bootstrap._MAX_DRAWS", 700)
    assert bootstrap_interval(values, num_resamples=500) == at_once


def test_an_item_without_weight_changes_nothing_of_the_value() -> None:
    assert ratio_interval([3.0, 0.0, 5.0], [1.0, 0.0, 1.0]).value == 4.0


def test_resamples_that_hold_only_weightless_items_are_left_out() -> None:
    found = ratio_interval([3.0, 0.0], [1.0, 0.0])
    assert (found.low, found.high) == (3.0, 3.0)


def test_an_increasing_function_carries_the_interval_with_it() -> None:
    found = bootstrap_interval([1.0, 2.0, 4.0])
    mapped = found.map(math.exp)
    assert (mapped.value, mapped.low, mapped.high) == (
        math.exp(found.value),
        math.exp(found.low),
        math.exp(found.high),
    )


def test_equal_systems_do_not_differ() -> None:
    found = paired_comparison([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert found.difference.value == 0.0
    assert found.p_value == 1.0


def test_a_constant_advantage_is_certain_however_noisy_the_items() -> None:
    second = np.random.default_rng(6).normal(100.0, 50.0, size=30)
    found = paired_comparison(second + 1.0, second)
    assert found.difference.low == pytest.approx(1.0)
    assert found.p_value < 0.001


def test_the_p_value_is_that_of_all_possible_resamples() -> None:
    first, second, tokens = [4.0, 2.0, 9.0, 3.0, 6.0], [3.0, 2.5, 7.0, 3.5, 4.0], [2.0, 1.0, 3.0, 1.0, 2.0]
    differences = [one - other for one, other in zip(first, second, strict=True)]
    observed = sum(differences) / sum(tokens)
    strayed = np.abs(enumerated(differences, tokens) - observed) >= abs(observed) - 1e-12
    found = paired_comparison(first, second, tokens, num_resamples=50_000)
    assert found.difference.value == pytest.approx(observed)
    assert found.p_value == pytest.approx(strayed.mean(), abs=0.02)


def test_equal_systems_are_rarely_told_apart() -> None:
    generator = np.random.default_rng(7)
    p_values = [
        paired_comparison(
            generator.normal(size=40), generator.normal(size=40), num_resamples=200, seed=trial
        ).p_value
        for trial in range(300)
    ]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


@pytest.mark.parametrize(
    ("numerators", "denominators", "options", "problem"),
    [
        ([], [], {}, "at least one number"),
        ([1.0], [1.0, 2.0], {}, "one an item"),
        ([1.0, math.nan], [1.0, 1.0], {}, "not finite"),
        ([1.0, 2.0], [1.0, -1.0], {}, "not be negative"),
        ([1.0, 2.0], [0.0, 0.0], {}, "not all zero"),
        ([1.0, 2.0], [1.0, 1.0], {"level": 95.0}, "between 0 and 1"),
        ([1.0, 2.0], [1.0, 1.0], {"num_resamples": 0}, "at least 1"),
        ([1.0, 2.0], [1.0, 1.0], {"groups": ["a"]}, "group of each"),
    ],
)
def test_impossible_questions_are_refused(
    numerators: list[float], denominators: list[float], options: dict[str, float], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        ratio_interval(numerators, denominators, **options)  # type: ignore[arg-type]


def test_systems_must_answer_the_same_items() -> None:
    with pytest.raises(InvalidInput, match="as first has"):
        paired_comparison([1.0, 2.0], [1.0])
