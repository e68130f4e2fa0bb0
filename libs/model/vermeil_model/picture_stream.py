"""Pictures on their way through the layers of a fused model's image tower.

Letters: N pictures, C channels, H height, W width, P patches, D width.
"""

from __future__ import annotations

from torch import Tensor

from vermeil_model.attention import Attend
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_model import layer_modulation
from vermeil_model.layers import Modulation
from vermeil_model.linear import compute_dtype


class PictureStream:
    """Their residual stream, (N, P, D), and what goes with it."""

    def __init__(self, model: FusedModel, images_NCHW: Tensor, times_N: Tensor, positions_N: Tensor) -> None:
        image = model.image
        dtype = compute_dtype(image.position)
        embedded_ND = image.embed_time(times_N, None)
        self.x_NPD = image.embed_patches(images_NCHW, embedded_ND)
        self.rotation = image.rotary(model.picture_positions(positions_N), dtype)
        self._modulations = image.modulations(embedded_ND)
        self._image = image

    def modulation(self, layer: int) -> Modulation | None:
        """What one layer is given."""
        return None if self._modulations is None else layer_modulation(self._modulations, layer)

    def step(self, layer: int, attend: Attend) -> None:
        """Go through one layer."""
        block = self._image.layers[layer]
        self.x_NPD = block(self.x_NPD, self.rotation, attend, layer, self.modulation(layer))

    def run(self, attend: Attend) -> None:
        """Go through all layers."""
        for layer in range(self._image.config.depth):
            self.step(layer, attend)

    def predicted(self) -> Tensor:
        """The clean pictures expected, (N, C, H, W), once all layers have run."""
        return self._image.readout(self.x_NPD, self._modulations)
