"""Encoded pictures as networks see them: decoded and fitted as those were that the model learned from."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from vermeil_data import ImageEncoding
from vermeil_model import from_pixels

from vermeil_evaluator.models.model import PictureSize


def images_of(files: Sequence[bytes], size: PictureSize) -> Tensor:
    """Pictures of −1 … 1, (B, C, H, W)."""
    form = ImageEncoding(size.height, size.width, size.channels, size.fit)  # type: ignore[arg-type]
    pixels_BCHW = np.stack([form.pixels(file, "picture") for file in files])
    return from_pixels(torch.from_numpy(pixels_BCHW))
