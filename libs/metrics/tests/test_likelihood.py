"""Perplexity and bits per byte agree with what they mean."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vermeil_errors import InvalidInput
from vermeil_metrics import bits_per_byte, perplexity


@given(st.integers(2, 100_000), st.integers(1, 1000))
def test_a_model_that_knows_nothing_hesitates_among_the_whole_vocabulary(
    vocabulary: int, num_tokens: int
) -> None:
    assert perplexity(num_tokens * math.log(vocabulary), num_tokens) == pytest.approx(vocabulary)


def test_a_model_that_is_always_right_has_perplexity_one_and_needs_no_bits() -> None:
    assert perplexity(0.0, 7) == 1.0
    assert bits_per_byte(0.0, 7) == 0.0


def test_guessing_bytes_needs_eight_bits_each() -> None:
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8.0)


def test_bits_per_byte_does_not_depend_on_how_the_text_was_cut() -> None:
    text = "größer"
    nats_of_pieces = [3.0, 1.5, 0.25]
    assert bits_per_byte(sum(nats_of_pieces), len(text.encode())) == pytest.approx(4.75 / math.log(2) / 8)


def test_a_hopeless_model_has_infinite_perplexity_and_no_overflow() -> None:
    assert perplexity(1e6, 1) == math.inf


def test_nothing_scored_is_refused() -> None:
    with pytest.raises(InvalidInput, match="num_tokens"):
        perplexity(1.0, 0)
    with pytest.raises(InvalidInput, match="num_bytes"):
        bits_per_byte(1.0, 0)
