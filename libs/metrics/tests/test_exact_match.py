"""The last number of a solution is found however it is written."""

import pytest
from vermeil_metrics import final_number, same_text, without_calculations


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("He sold 48/2 = <<48/2=24>>24 clips.\n#### 24", "24"),
        ("The profit is $70,000.\n#### 70,000", "70000"),
        ("#### -3.50", "-3.5"),
        ("so it is 7. No, 8 apples.", "8"),
        ("about $1,234.00 in all", "1234"),
        ("#### $ 18 dollars", "18"),
        ("0.50", "0.5"),
        (".5 of it", "0.5"),
        ("-0", "0"),
        ("007", "7"),
        ("<<1+1=2>>", None),
        ("no idea", None),
        ("first 3\n#### 4\nthen 5", "4"),
    ],
)
def test_the_final_number_is_found(text: str, number: str | None) -> None:
    assert final_number(text) == number


def test_calculator_marks_are_taken_out() -> None:
    assert without_calculations("48/2 = <<48/2=24>>24 clips") == "48/2 = 24 clips"


def test_texts_are_the_same_but_for_case_and_space() -> None:
    assert same_text(" Paris.\n", "paris")
    assert same_text("New  York", "new york")
    assert not same_text("Parish", "Paris")
