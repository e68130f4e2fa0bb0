"""VQA accuracy: an answer is as right as people agree with it, once both are spelled alike (1505.00468).

The formula of the VQA evaluation: of all but one of the people, three who gave the answer make it right; the
mean over who is left out. Unusual: with fewer than four answers all the others must agree, so that one
reference makes it plain equality.
"""

import re
from collections.abc import Sequence

from vermeil_errors import InvalidInput

_AGREEING = 3
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0"} | {name: str(number) for number, name in enumerate(_NUMBERS)}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_OTHER_WORDS_WITHOUT = frozenset(
    {"it's", "i'd", "i'll", "he'll", "she'll", "she'd", "we'd", "we'll", "we're"}
)
"""Words that are others without their apostrophe: "it's" is not "its", while "dont" is "don't"."""


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """How right an answer is, 0 to 1, given what one or more people answered."""
    if not references:
        raise InvalidInput.for_field("references", 0, "are missing", "give one answer or more")
    agreeing = sum(normal_answer(each) == normal_answer(answer) for each in references)
    if len(references) == 1:
        return float(agreeing)
    needed = min(_AGREEING, len(references) - 1)
    # Who is left out is one of those who agree, or one of the others.
    without_one = agreeing * min(1.0, (agreeing - 1) / needed)
    without_other = (len(references) - agreeing) * min(1.0, agreeing / needed)
    return (without_one + without_other) / len(references)


def normal_answer(answer: str) -> str:
    """Lower case, numbers as digits, no articles, punctuation or apostrophes that spelling may leave out."""
    text = " ".join(answer.split())
    in_number = _COMMA_IN_NUMBER.search(text) is not None
    plain = text
    for mark in _PUNCTUATION:
        at_edge = f"{mark} " in text or f" {mark}" in text
        plain = plain.replace(mark, "" if at_edge or in_number else " ")
    words = (_DIGITS.get(word, word) for word in _FULL_STOP.sub("", plain).lower().split())
    return " ".join(_word(word) for word in words if word not in _ARTICLES)


def answer_type(answers: Sequence[str]) -> str:
    """The three sorts that VQA tells apart, by what most people answered: yes/no, number or other."""
    normal = [normal_answer(each) for each in answers]
    common = max(normal, key=normal.count)
    if common in ("yes", "no"):
        return "yes/no"
    return "number" if common.isdecimal() else "other"


def _word(word: str) -> str:
    return word if word in _OTHER_WORDS_WITHOUT else word.replace("'", "")
