"""Dense: one set of layers for all modalities, as in Transfusion (arXiv 2408.11039).

Only what lies before the first layer and after the last is of one modality: embeddings, times, readouts. Two
trained backbones cannot become one set of layers, so `fuse` keeps those of the text and the rest of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_model import options_of
from vermeil_model.towers import Towers


@dataclass(frozen=True)
class DenseOptions:
    """There is nothing to choose."""


class Dense(Towers):
    """Towers that are the same one; its weights go by the text tower's names."""

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        del self.image.layers
        self.image.__dict__["layers"] = self.text.layers  # found, but not counted or stored twice

    @classmethod
    def check(cls, config: FusedConfig) -> None:
        """Towers of equal layers."""
        super().check(config)
        config.check_equal("width", "feed_forward_width", "qk_norm", "norm_epsilon")
        options_of(DenseOptions, config.options)
