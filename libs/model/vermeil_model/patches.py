"""Pictures as rows of patches and back, and as the pixels people look at.

Inside, a picture is (B, C, H, W) with values in −1 … 1; outside, (B, H, W, C) of uint8. A patch is a
square of all channels, laid out row by row with its channels last; patches go left to right, top to
bottom.

Letters: B batch, C channels, H height, W width, T patches, P values of a patch.
"""

from __future__ import annotations

from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor
from vermeil_errors import InvalidInput


class PictureSize(Protocol):
    """A config of any network that takes pictures."""

    @property
    def channels(self) -> int: ...
    @property
    def image_height(self) -> int: ...
    @property
    def image_width(self) -> int: ...


def check_pictures(images_BCHW: Tensor, config: PictureSize, network: str) -> None:
    """Refuse pictures of another size than the network's; `network` is its name, such as "a model"."""
    expected = (config.channels, config.image_height, config.image_width)
    if tuple(images_BCHW.shape[1:]) != expected:
        raise InvalidInput.for_field(
            "images",
            tuple(images_BCHW.shape),
            f"are not of shape (batch, {', '.join(map(str, expected))})",
            f"Resize them or use {network} of their size.",
        )


def to_patches(images_BCHW: Tensor, patch_size: int) -> Tensor:
    """Cut pictures into patches, (B, T, P)."""
    return rearrange(images_BCHW, "b c (h p) (w q) -> b (h w) (p q c)", p=patch_size, q=patch_size)


def from_patches(patches_BTP: Tensor, patch_size: int, num_rows: int) -> Tensor:
    """Lay patches out again, `num_rows` rows of them, (B, C, H, W)."""
    return rearrange(
        patches_BTP, "b (h w) (p q c) -> b c (h p) (w q)", p=patch_size, q=patch_size, h=num_rows
    )


def to_pixels(images_BCHW: Tensor) -> Tensor:
    """uint8 (B, H, W, C) of values in −1 … 1; what lies beyond is cut off."""
    scaled = (images_BCHW.detach().float().clamp(-1, 1) + 1) * 127.5
    return rearrange(scaled.round().to(torch.uint8), "b c h w -> b h w c")


def from_pixels(pixels_BCHW: Tensor) -> Tensor:
    """float32 in −1 … 1 of uint8 pixels, channels first on both sides."""
    if pixels_BCHW.dtype != torch.uint8:
        raise InvalidInput.for_field(
            "pixels", str(pixels_BCHW.dtype), "are not uint8", "Give pixels of 0 to 255 as uint8."
        )
    return pixels_BCHW.float().div_(127.5).sub_(1)
