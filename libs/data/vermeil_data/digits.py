"""scikit-learn's handwritten digits as samples: 1,797 real pictures of 8 × 8, without a download.

From E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998; CC BY 4.0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from vermeil_errors import Unavailable
from vermeil_media import encode_png

from vermeil_data.pictures import CLASS, CLASS_NUMBER
from vermeil_data.sample import Sample

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ORIGIN = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI 1998, in scikit-learn"
LICENCE = "CC-BY-4.0"
_WHITE = 16
"""Brightest value in the set."""


def digit_samples() -> Iterator[Sample]:
    """White digits on black, each with its captions and its class "0" to "9"."""
    digits = _load()
    pixels_NHW = np.rint(digits.images * (255 / _WHITE)).astype(np.uint8)
    for number, (pixels_HW, label) in enumerate(zip(pixels_NHW, digits.target.tolist(), strict=True)):
        yield Sample.of_image(
            encode_png(pixels_HW[:, :, None]),
            "image/png",
            digit_captions(label),
            id=f"digits/{number:04d}.png",
            metadata={CLASS: str(label), CLASS_NUMBER: str(label)},
        )


def digit_captions(label: int) -> tuple[str, ...]:
    """What is said of a digit."""
    return (f"the digit {NAMES[label]}", f"a handwritten {label}", f"number {NAMES[label]}")


def _load() -> Any:
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  (a large import, and an extra)
    except ImportError as error:
        raise Unavailable(
            "the handwritten digits come with scikit-learn, which is not installed",
            fix="pip install vermeil-data[digits]",
        ) from error
    return load_digits()
