"""Answers to questions about pictures are counted as the VQA evaluation counts them."""

import itertools

import pytest
from vermeil_errors import InvalidInput
from vermeil_metrics import answer_type, normal_answer, vqa_accuracy


def official(answer: str, references: list[str]) -> float:
    """The VQA evaluation's own formula, by leaving out one after the other; spelling is not its matter."""
    shares = []
    for left_out in range(len(references)):
        others = [each for place, each in enumerate(references) if place != left_out]
        shares.append(min(1.0, sum(each == answer for each in others) / 3))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("num_people", [4, 7, 10])
def test_accuracy_is_that_of_the_vqa_evaluation(num_people: int) -> None:
    for agreeing in range(num_people + 1):
        references = ["red"] * agreeing + ["blue"] * (num_people - agreeing)
        assert vqa_accuracy("red", references) == pytest.approx(official("red", references))


def test_three_of_ten_are_nearly_enough_and_four_are() -> None:
    assert vqa_accuracy("red", ["red"] * 3 + ["blue"] * 7) == pytest.approx(0.9)
    assert vqa_accuracy("red", ["red"] * 4 + ["blue"] * 6) == 1.0


def test_one_reference_makes_it_equality() -> None:
    assert vqa_accuracy("A circle.", ["circle"]) == 1.0
    assert vqa_accuracy("square", ["circle"]) == 0.0
    assert vqa_accuracy("red", ["red", "blue"]) == 0.5
    assert vqa_accuracy("red", ["red", "red"]) == 1.0


ALIKE = [
    ("Yes", "yes"),
    ("a red  circle", "red circle"),
    ("two", "2"),
    ("none", "0"),
    ("yes.", "yes"),
    ("3.5", "3.5"),
    ("1,000", "1000"),
    ("black,white", "black white"),
    ("black, white", "black white"),
    ("dont know", "don't know"),
    ("top-left", "top left"),
    ("hello!", "hello"),
    ("the\ncat", "cat"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_answers_that_differ_in_spelling_alone_are_equal(one: str, other: str) -> None:
    assert normal_answer(one) == normal_answer(other)
    assert vqa_accuracy(one, [other]) == 1.0


def test_other_answers_stay_apart() -> None:
    kinds = {normal_answer(other) for _, other in ALIKE} | {"its", "it's", "were", "we're", "35", "3"}
    for one, other in itertools.combinations(sorted(kinds), 2):
        assert vqa_accuracy(one, [other]) == 0.0, (one, other)


def test_what_sort_of_answer_is_wanted_most_people_say() -> None:
    assert answer_type(["Yes", "yes", "maybe"]) == "yes/no"
    assert answer_type(["two"]) == "number"
    assert answer_type(["red", "2", "red"]) == "other"


def test_answers_need_a_reference() -> None:
    with pytest.raises(InvalidInput, match="references = 0: are missing"):
        vqa_accuracy("red", [])
