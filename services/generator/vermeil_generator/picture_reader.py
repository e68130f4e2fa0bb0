"""How a model is shown pictures: decoded and brought to its size as those that it learned from."""

from dataclasses import dataclass

import torch
from torch import Tensor
from vermeil_data import ImageEncoding
from vermeil_data.mixture import Style
from vermeil_media import ImageLimits

from vermeil_generator.ask import GivenImage


@dataclass(frozen=True)
class PictureReader:
    """What a model needs of a picture, and how many it takes."""

    encoding: ImageEncoding
    """Its size, channels and what happens to other shapes."""
    limits: ImageLimits
    """What is refused before it is decoded."""
    most: int
    """Pictures of one request."""
    patches_each: int
    stride: int
    """Positions of the context that each takes."""
    captioning: Style = "document"
    """How the model learned to say what it sees where nobody asks."""

    def read(self, image: GivenImage) -> Tensor:
        """A picture in the model's form, uint8 (C, H, W).

        Raises:
            InvalidInput: It is no whole picture.
            TooLarge: It is over the limits.
        """
        pixels_CHW = self.encoding.pixels(image.read(), image.name, limits=self.limits)
        return torch.from_numpy(pixels_CHW.copy())
