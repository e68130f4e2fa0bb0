"""Whether an answer is the right one: as text, or as the last number of a worked solution."""

import re

_CALCULATION = re.compile(r"<<[^<>]*>>")
_MARKED = re.compile(r"####\s*([^\n]+)")
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+")


def without_calculations(solution: str) -> str:
    """A worked solution as people write it: GSM8K's `<<48/2=24>>` calculator marks taken out."""
    return _CALCULATION.sub("", solution)


def final_number(text: str) -> str | None:
    """The number after `####`, or else the last one, without commas, currency and idle zeros."""
    plain = without_calculations(text)
    marked = _MARKED.findall(plain)
    found = _NUMBER.findall(marked[-1] if marked else plain)
    return _canonical(found[-1]) if found else None


def same_text(answer: str, reference: str) -> bool:
    """Equal but for case, outer space, space between words and a full stop at the end."""
    return _normal(answer) == _normal(reference)


def _canonical(number: str) -> str:
    digits = number.replace(",", "").replace("$", "")
    sign = "-" if digits.startswith("-") else ""
    whole, _, fraction = digits.removeprefix("-").partition(".")
    fraction = fraction.rstrip("0")
    value = (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return value if value == "0" else sign + value


def _normal(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")
