"""What callers may rely on when pixels are resized, compared and measured."""

import io

import numpy as np
import pytest
from PIL import Image
from vermeil_errors import InvalidInput
from vermeil_media import Fit, Pixels, blur_score, decode_image, hamming, perceptual_hash, resize_image


def scene(seed: int, height: int = 64, width: int = 64) -> Pixels:
    """Smooth random blobs."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return resize_image(coarse, height, width, "stretch")


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_gets_the_size_asked_for(fit: Fit, channels: int) -> None:
    pixels = np.full((30, 50, channels), 77, np.uint8)
    for height, width in ((10, 10), (60, 100), (1, 1), (31, 7)):
        resized = resize_image(pixels, height, width, fit)
        assert resized.shape == (height, width, channels)
        # Half-transparent colours are rounded on their way.
        assert np.abs(resized.astype(int) - 77).max() <= 2 * (channels == 4)


def test_the_same_size_changes_nothing() -> None:
    pixels = scene(0)
    assert np.array_equal(resize_image(pixels, 64, 64), pixels)


def test_cropping_keeps_the_middle_and_padding_keeps_all() -> None:
    pixels = np.zeros((10, 30, 1), np.uint8)
    pixels[:, 10:20] = 200
    assert (resize_image(pixels, 10, 10, "crop") == 200).all()
    padded = resize_image(pixels, 30, 30, "pad")
    assert padded[15, 15, 0] == 200
    assert padded[0, 15, 0] == padded[15, 0, 0] == 0


def test_padding_goes_on_with_the_background() -> None:
    pixels = np.full((10, 30, 3), (10, 200, 90), np.uint8)
    pixels[4:6, 10:20] = 0
    assert resize_image(pixels, 30, 30, "pad")[0, 0].tolist() == [10, 200, 90]


def test_what_is_no_picture_is_refused() -> None:
    for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 0, 3), np.uint8)):
        with pytest.raises(InvalidInput, match="pixels"):
            resize_image(bad, 8, 8)
    with pytest.raises(InvalidInput, match="must be at least 1 × 1"):
        resize_image(scene(0), 0, 8)
    with pytest.raises(InvalidInput, match="choose crop, pad or stretch"):
        resize_image(scene(0), 8, 8, "squeeze")  # type: ignore[arg-type]


def test_blurring_lowers_the_score() -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    soft = resize_image(resize_image(sharp, 8, 8, "stretch"), 64, 64, "stretch")
    assert blur_score(sharp) > 100 * blur_score(soft)
    assert blur_score(np.full((9, 9, 1), 5, np.uint8)) == 0
    assert blur_score(np.full((2, 9, 1), 5, np.uint8)) == 0


def test_the_perceptual_hash_survives_scaling_and_recompression_but_tells_pictures_apart() -> None:
    hashes = []
    for seed in range(30):
        pixels = scene(seed)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=60)
        brighter = np.minimum(pixels.astype(int) + 12, 255).astype(np.uint8)
        kept = perceptual_hash(pixels)
        for variant in (decode_image(file.getvalue()), resize_image(pixels, 96, 96), brighter):
            assert hamming(kept, perceptual_hash(variant)) <= 6
        hashes.append(kept)
    apart = [hamming(one, two) for index, one in enumerate(hashes) for two in hashes[:index]]
    assert min(apart) > 8
    assert max(hashes) < 1 << 64


def test_an_even_surface_has_the_same_hash_in_every_colour() -> None:
    hashes = {perceptual_hash(np.full((20, 20, 3), value, np.uint8)) for value in (0, 1, 100, 255)}
    assert len(hashes) == 1
