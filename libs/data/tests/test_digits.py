"""What the embedded handwritten digits promise."""

import sys
from collections import Counter

import numpy as np
import pytest
from vermeil_data.digits import digit_samples
from vermeil_errors import Unavailable
from vermeil_media import decode_image


def test_all_digits_come_with_class_and_captions() -> None:
    samples = list(digit_samples())
    assert len(samples) == 1797
    counts = Counter(sample.metadata["class"] for sample in samples)
    assert set(counts) == set("0123456789")
    assert min(counts.values()) > 170
    first = samples[0]
    assert first.metadata == {"class": "0", "class_number": "0"}
    assert [segment.text for segment in first.segments[:-1]] == [
        "the digit zero",
        "a handwritten 0",
        "number zero",
    ]
    assert len({sample.id for sample in samples}) == 1797


def test_the_pictures_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    images = load_digits().images
    for sample, image in zip(digit_samples(), images, strict=True):
        pixels = decode_image(sample.segments[-1].data or b"", channels=1)[:, :, 0]
        assert np.array_equal(np.rint(pixels / 255 * 16), image)


def test_without_scikit_learn_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(Unavailable, match=r"pip install vermeil-data\[digits\]"):
        next(digit_samples())
