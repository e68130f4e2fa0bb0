import dataclasses

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import Conditions, ImageModel
from vermeil_model.attention import additive_mask, scaled_dot_product
from vermeil_model.image_model import layer_modulation
from vermeil_model.layers import Modulation
from vermeil_model.patches import from_patches, from_pixels, to_patches, to_pixels
from vermeil_model.testing import (
    BY_CLASS,
    BY_TEXT,
    SMALL_IMAGE,
    small_conditions,
    small_image_model,
    small_images,
)

VARIANTS = (
    BY_CLASS,
    BY_TEXT,
    BY_CLASS | {"adaln": True},
    BY_TEXT | {"adaln": True, "pool_condition": False},
    BY_CLASS | {"qk_norm": False, "num_key_value_heads": 4},
)
TIMES = torch.tensor([0.0, 0.3, 0.7, 0.95])


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0)


class OneSequence:
    """Condition tokens and patches as one sequence under one mask."""

    def __init__(self, present_BL: torch.Tensor, num_patches: int) -> None:
        batch, length = present_BL.shape
        visible = torch.zeros(batch, 1, length + num_patches, length + num_patches, dtype=torch.bool)
        visible[..., :length, :length] = present_BL[:, None, None] | torch.eye(length, dtype=torch.bool)
        visible[..., length:, :length] = present_BL[:, None, None]
        visible[..., length:, length:] = True
        self._mask = additive_mask(visible, torch.float32)

    def __call__(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, layer: int):
        return scaled_dot_product(queries, keys, values, self._mask)


def naive(model: ImageModel, noisy: torch.Tensor, times: torch.Tensor, asked: Conditions) -> torch.Tensor:
    """The model's prediction, everything in one forward pass without any context."""
    config = model.config
    if asked.classes_B is not None:
        places = torch.arange(config.context_length)
        tokens = asked.classes_B.clamp_min(0)[:, None] * config.context_length + places
        present = (asked.classes_B >= 0)[:, None].expand(tokens.shape)
    else:
        tokens, present = asked.tokens_BL, torch.arange(asked.tokens_BL.shape[1]) < asked.lengths_B[:, None]
    length = tokens.shape[1]
    given = torch.arange(length).expand(3, len(noisy), length)
    there = model.patch_positions().expand(3, len(noisy), config.num_patches)
    rotation = model.rotary(torch.cat((given, there), 2), torch.float32)
    embedded = model.embed_time(times, model.read(asked))
    joined = torch.cat((model.condition(tokens), model.embed_patches(noisy, embedded)), dim=1)
    attend, modulations = OneSequence(present, config.num_patches), model.modulations(embedded)
    for index, layer in enumerate(model.layers):
        modulation = None
        if modulations is not None:
            of_patches = layer_modulation(modulations, index)
            neutral = (torch.full_like(of_patches[0], value).repeat(1, length, 1) for value in (0, 1, 1) * 2)
            spread = (part.repeat(1, config.num_patches, 1) for part in of_patches)
            modulation = Modulation(*map(torch.hstack, zip(neutral, spread, strict=True)))
        joined = layer(joined, rotation, attend, index, modulation)
    return model.readout(joined[:, length:], modulations)


@pytest.mark.parametrize("changes", VARIANTS)
@torch.no_grad()
def test_a_context_read_once_gives_what_one_sequence_under_a_mask_gives(changes: dict[str, object]) -> None:
    model = small_image_model(**changes)
    asked = small_conditions(4, model.config)
    expected = naive(model, small_images(4), TIMES, asked)
    close(model(small_images(4), TIMES, asked), expected)
    close(model(small_images(4), TIMES, context=model.read(asked)), expected)


@pytest.mark.parametrize("changes", VARIANTS)
@torch.no_grad()
def test_unconditional_means_that_the_condition_is_not_there(changes: dict[str, object]) -> None:
    model = small_image_model(**changes)
    asked = small_conditions(4, model.config)
    absent = asked.dropped(torch.tensor([True, False, True, False]))
    without, mixed = model(small_images(4), TIMES), model(small_images(4), TIMES, absent)
    close(mixed[[0, 2]], without[[0, 2]])
    assert not torch.allclose(mixed[[1, 3]], without[[1, 3]], atol=1e-2)


@pytest.mark.parametrize("num_pictures", [2, 9])
@torch.no_grad()
def test_classes_give_the_same_whether_read_once_or_for_every_picture(num_pictures: int) -> None:
    model = small_image_model(**BY_CLASS)
    asked, times = small_conditions(num_pictures, model.config), torch.full((num_pictures,), 0.4)
    together = model(small_images(num_pictures), times, asked)
    for row in range(num_pictures):
        alone = Conditions(classes_B=asked.classes_B[row : row + 1])
        close(model(small_images(num_pictures)[row : row + 1], times[:1], alone), together[row : row + 1])


@torch.no_grad()
def test_padding_of_a_caption_never_changes_the_picture() -> None:
    model = small_image_model(**BY_TEXT)
    short, padded = torch.tensor([[3, 5]]), torch.tensor([[3, 5, 60, 60, 60]])
    length = torch.tensor([2])
    images, times = small_images(1), TIMES[1:2]
    expected = model(images, times, Conditions(tokens_BL=short, lengths_B=length))
    close(model(images, times, Conditions(tokens_BL=padded, lengths_B=length)), expected)


@torch.no_grad()
def test_every_part_of_the_input_matters() -> None:
    model = small_image_model(**BY_CLASS)
    images, asked = small_images(4), Conditions.of_classes([0, 1, 2, 3])
    base = model(images, TIMES, asked)
    assert (model(images, TIMES, Conditions.of_classes([1, 2, 3, 4])) - base).abs().amax(
        (1, 2, 3)
    ).min() > 1e-3
    assert (model(images, TIMES * 0.5 + 0.1, asked) - base).abs().amax((1, 2, 3)).min() > 1e-3
    moved = model(images.roll(4, 2), TIMES, asked).roll(-4, 2)
    assert (moved - base).abs().amax((1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("changes", [{}, *VARIANTS])
def test_gradients_reach_every_weight(changes: dict[str, object]) -> None:
    model = small_image_model(**changes)
    model(small_images(4), TIMES, small_conditions(4, model.config)).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.any(), name


def test_even_a_batch_that_asks_for_nothing_gives_every_weight_a_gradient() -> None:
    model = small_image_model(**BY_TEXT)
    model(small_images(2), TIMES[:2], Conditions.of_captions([[], []])).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@torch.no_grad()
def test_bfloat16_stays_close_to_float32() -> None:
    model = small_image_model(**BY_CLASS | {"adaln": True})
    asked = small_conditions(4, model.config)
    expected = model(small_images(4), TIMES, asked)
    with torch.autocast("cpu", torch.bfloat16):
        close(model(small_images(4), TIMES, asked).float(), expected, 0.2)


def test_pictures_and_conditions_that_do_not_fit_are_refused() -> None:
    model = small_image_model(**BY_TEXT)
    with pytest.raises(InvalidInput, match=r"not of shape \(batch, 3, 12, 8\)"):
        model(torch.zeros(1, 3, 8, 12), TIMES[:1])
    with pytest.raises(InvalidInput, match="not what this model was made for"):
        model(small_images(1), TIMES[:1], Conditions.of_classes([1]))
    with pytest.raises(InvalidInput, match="exceed 7 condition tokens"):
        model(small_images(1), TIMES[:1], Conditions.of_captions([[1] * 8]))
    with pytest.raises(InvalidInput, match="Give both"):
        model(small_images(1), TIMES[:1], Conditions(tokens_BL=torch.zeros(1, 1)))


def test_patches_lie_left_to_right_and_come_back_whole() -> None:
    config = dataclasses.replace(SMALL_IMAGE, channels=2, patch_size=2)
    images = torch.arange(2 * 12 * 8.0).reshape(1, 2, 12, 8)
    patches = to_patches(images, 2)
    assert patches.shape == (1, config.num_patches, config.patch_width)
    close(patches[0, 1], torch.stack([images[0, :, y, x] for y in (0, 1) for x in (2, 3)]).flatten())
    close(from_patches(patches, 2, config.num_rows), images)


def test_pixels_survive_the_way_in_and_out() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    images = from_pixels(pixels)
    assert (images.min(), images.max()) == (-1, 1)
    assert to_pixels(images).permute(0, 3, 1, 2).equal(pixels)
    assert to_pixels(torch.tensor([[[[-7.0, 7.0]]]])).flatten().tolist() == [0, 255]
    with pytest.raises(InvalidInput, match="not uint8"):
        from_pixels(images)
