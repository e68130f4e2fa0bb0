"""What the embedded handwritten digits promise."""

from collections import Counter

import numpy as np
from vermeil_data.digits import digit_samples
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


def test_pictures_and_classes_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    for sample, image, label in zip(digit_samples(), theirs.images, theirs.target, strict=True):
        pixels = decode_image(sample.segments[-1].data or b"", channels=1)[:, :, 0]
        assert np.array_equal(np.rint(pixels / 255 * 16), image)
        assert sample.metadata["class"] == str(label)
