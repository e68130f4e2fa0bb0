"""Handwritten digits as samples: 1,797 real pictures of 8 × 8, without a download.

They lie beside this file, side by side in one picture, and what they are in a text of as many rows. From
E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998; CC BY 4.0; the same pictures,
in the same order, as scikit-learn's.
"""

from collections.abc import Iterator
from pathlib import Path

from vermeil_media import decode_image, encode_png

from vermeil_data.pictures import CLASS, CLASS_NUMBER
from vermeil_data.sample import Sample

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ORIGIN = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI 1998"
LICENCE = "CC-BY-4.0"
_SHEET = Path(__file__).with_name("digits.png")
_SIDE = 8


def digit_samples() -> Iterator[Sample]:
    """White digits on black, each with its captions and its class "0" to "9"."""
    sheet_HWC = decode_image(_SHEET.read_bytes(), channels=1)
    rows = _SHEET.with_suffix(".txt").read_text(encoding="ascii").split()
    places = ((y, x, label) for y, row in enumerate(rows) for x, label in enumerate(row))
    for number, (y, x, label) in enumerate(places):
        top, left = y * _SIDE, x * _SIDE
        yield Sample.of_image(
            encode_png(sheet_HWC[top : top + _SIDE, left : left + _SIDE]),
            "image/png",
            digit_captions(int(label)),
            id=f"digits/{number:04d}.png",
            metadata={CLASS: label, CLASS_NUMBER: label},
        )


def digit_captions(label: int) -> tuple[str, ...]:
    """What is said of a digit."""
    return (f"the digit {NAMES[label]}", f"a handwritten {label}", f"number {NAMES[label]}")
