"""Named statistics agree with their functions; their intervals cover as often as they say."""

import math
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from vermeil_errors import InvalidInput
from vermeil_metrics import (
    STATISTICS,
    bleu_counts,
    bootstrap_interval,
    corpus_bleu,
    frechet_distance,
    jackknife_comparison,
    jackknife_interval,
    ratio_interval,
    statistic,
)

NATS, TOKENS = [30.0, 80.0, 20.0, 110.0], [20.0, 30.0, 10.0, 70.0]


def test_statistics_are_the_functions_they_are_named_for() -> None:
    mean = statistic("mean")
    assert mean.interval(mean.evidence(NATS)) == bootstrap_interval(NATS)
    perplexity = statistic("perplexity").interval(statistic("perplexity").evidence(NATS, TOKENS))
    assert perplexity == ratio_interval(NATS, TOKENS).map(math.exp)
    bits = statistic("bits_per_byte").interval(statistic("bits_per_byte").evidence(NATS, TOKENS))
    assert bits.value == pytest.approx(240 / 130 / math.log(2))


def test_bleu_is_resampled_by_sentence() -> None:
    pairs = [(f"the cat number {i} sat on a mat", [f"the cat number {i} lay on the mat"]) for i in range(30)]
    pairs += [("something else", ["nothing of the sort here"])] * 10
    bleu = statistic("bleu")
    found = bleu.interval(bleu.evidence([bleu_counts(*pair) for pair in pairs]))
    assert found.value == pytest.approx(corpus_bleu([one for one, _ in pairs], [two for _, two in pairs]))
    assert found.low < found.value < found.high


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_a_system_does_not_differ_from_itself(name: str) -> None:
    found = statistic(name)
    rows = np.random.default_rng(0).integers(1, 50, size=(25, found.num_columns)).astype(float)
    same = found.compare(rows, rows)
    assert (same.difference.value, same.p_value) == (0.0, 1.0)


def test_a_difference_is_shown_in_the_units_of_the_number() -> None:
    perplexity = statistic("perplexity")
    first, second = (
        perplexity.evidence(NATS, TOKENS),
        perplexity.evidence([each + 9 for each in NATS], TOKENS),
    )
    found = perplexity.compare(first, second)
    assert found.difference.value == pytest.approx(math.exp(240 / 130) - math.exp(276 / 130))
    assert found.difference.high < 0


def clustered(generator: np.random.Generator) -> tuple[NDArray[np.float64], list[int]]:
    """Right and wrong answers about 40 pictures, five questions each; pictures are easy or hard."""
    ease = generator.beta(0.4, 0.4, size=40)
    return (generator.random((40, 5)) < ease[:, None]).astype(float).ravel(), list(np.repeat(range(40), 5))


def test_intervals_of_questions_about_the_same_picture_cover_as_often_as_they_say() -> None:
    generator = np.random.default_rng(11)
    mean, honest, naive = statistic("mean"), 0, 0
    for trial in range(300):
        answers, pictures = clustered(generator)
        evidence = mean.evidence(answers)
        by_picture = mean.interval(evidence, groups=pictures, seed=trial)
        by_question = mean.interval(evidence, seed=trial)
        honest += by_picture.low <= 0.5 <= by_picture.high
        naive += by_question.low <= 0.5 <= by_question.high
    assert 0.91 <= honest / 300 <= 0.98
    assert naive / 300 < 0.85


def test_a_share_of_none_or_all_is_not_taken_for_certain() -> None:
    share = statistic("share")
    none, every = (share.interval(share.evidence(np.full(30, value))) for value in (0.0, 1.0))
    assert (none.value, none.low) == (0.0, 0.0)
    assert (1 - none.high) ** 30 == pytest.approx(0.025)  # so rare are 30 without one then
    assert (every.value, every.high) == (1.0, 1.0)
    assert every.low == pytest.approx(1 - none.high)
    of_pictures = share.interval(share.evidence(np.zeros(30)), groups=[number // 3 for number in range(30)])
    assert (1 - of_pictures.high) ** 10 == pytest.approx(0.025)
    some = np.arange(30) % 3 == 0
    assert share.interval(share.evidence(some)) == statistic("mean").interval(share.evidence(some))


def test_equal_systems_on_shared_pictures_are_told_apart_one_time_in_twenty() -> None:
    generator = np.random.default_rng(12)
    mean, num_told = statistic("mean"), 0
    for trial in range(300):
        ease = generator.beta(2, 2, size=(50, 1))
        first, second = (generator.random((2, 50, 4)) < ease).astype(float).reshape(2, -1)
        groups = list(np.repeat(range(50), 4))
        compared = mean.compare(mean.evidence(first), mean.evidence(second), groups=groups, seed=trial)
        num_told += compared.p_value < 0.05
    assert 0.02 <= num_told / 300 <= 0.09


def test_the_jackknife_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(13).normal(3.0, 2.0, size=2000)
    found = jackknife_interval(2000, lambda kept: float(values[kept].mean()), num_blocks=200)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(2000), rel=0.15)


def _distance_of_some(
    drawn: NDArray[np.float64], reference: NDArray[np.float64], kept: NDArray[np.intp]
) -> float:
    return frechet_distance(drawn[kept], reference)


def test_intervals_of_a_frechet_distance_cover_as_often_as_they_say() -> None:
    """What they cover is the distance that as many samples have on average."""
    generator = np.random.default_rng(14)
    reference = generator.normal(size=(2000, 4))
    intervals = []
    for _ in range(150):
        drawn = generator.normal(0.5, 1.2, size=(400, 4))
        distance = partial(_distance_of_some, drawn, reference)
        intervals.append(jackknife_interval(400, distance))
    truth = np.mean([interval.value for interval in intervals])
    coverage = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.89 <= coverage <= 0.99


def test_a_set_does_not_differ_from_itself_and_a_worse_one_does() -> None:
    generator = np.random.default_rng(15)
    reference, good = generator.normal(size=(2, 500, 3))
    bad = good * 1.5

    twin = good.copy()
    same = jackknife_comparison(
        500, lambda kept: frechet_distance(good[kept], reference) - frechet_distance(twin[kept], reference)
    )
    assert (same.difference.value, same.p_value) == (0.0, 1.0)
    worse = jackknife_comparison(
        500, lambda kept: frechet_distance(bad[kept], reference) - frechet_distance(good[kept], reference)
    )
    assert worse.difference.low > 0
    assert worse.p_value < 1e-4


def test_wrong_evidence_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="statistic = 'median': is unknown; use mean"):
        statistic("median")
    with pytest.raises(InvalidInput, match="perplexity needs 2 numbers"):
        statistic("perplexity").evidence(NATS)
    with pytest.raises(InvalidInput, match="as first is"):
        statistic("mean").compare(np.ones((2, 2)), np.ones((3, 2)))
    with pytest.raises(InvalidInput, match="not finite"):
        statistic("mean").interval(np.array([[math.nan, 1.0]]))
    with pytest.raises(InvalidInput, match="too few to leave any out"):
        jackknife_interval(1, lambda _kept: 0.0)
