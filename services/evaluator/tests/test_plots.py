"""What is drawn is drawn to scale."""

import pytest
from vermeil_evaluator.plots import intervals
from vermeil_evaluator.report import Metric
from vermeil_metrics import Interval


def metric(name: str, statistic: str, low: float, value: float, high: float) -> Metric:
    return Metric(name, Interval(value, low, high, 0.95), False, statistic)


def test_shares_are_drawn_from_zero_to_one_so_that_a_wide_interval_is_a_wide_bar() -> None:
    wide, narrow = intervals([metric("a", "mean", 0.25, 0.5, 0.75), metric("b", "array_mean", 0.9, 0.95, 1)])
    assert (wide.begin, wide.end) == (narrow.begin, narrow.end) == ("0", "1")
    assert wide.high - wide.low == pytest.approx(5 * (narrow.high - narrow.low))
    assert wide.dot == pytest.approx((wide.low + wide.high) / 2)


def test_numbers_of_one_statistic_share_an_axis_from_zero_to_the_greatest() -> None:
    drawn, floor, other = intervals(
        [
            metric("fid", "frechet", 30, 35, 40),
            metric("fid_of_real", "frechet", 3, 3.5, 4),
            metric("kid", "kernel", -0.01, 0.01, 0.03),
        ]
    )
    assert (drawn.begin, drawn.end) == (floor.begin, floor.end) == ("0", "40")
    assert drawn.dot == pytest.approx(10 * floor.dot)
    assert (other.begin, other.end) == ("-0.01", "0.03")


def test_a_mean_that_is_no_share_has_an_axis_of_its_own() -> None:
    share, rank = intervals([metric("found", "mean", 0.1, 0.2, 0.3), metric("rank", "mean", 2, 4, 8)])
    assert (share.end, rank.end) == ("1", "8")


def test_a_number_without_spread_is_a_dot_at_its_place() -> None:
    (bar,) = intervals([metric("zero", "frechet", 0, 0, 0)])
    assert (bar.low, bar.dot, bar.high) == (0, 0, 0)
