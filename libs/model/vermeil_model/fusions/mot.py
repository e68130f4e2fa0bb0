"""Mixture of transformers: weights per modality, ordinary joint attention (arXiv 2411.04996)."""

from __future__ import annotations

from dataclasses import dataclass

from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_model import options_of
from vermeil_model.towers import Towers


@dataclass(frozen=True)
class MotOptions:
    """There is nothing to choose."""


class Mot(Towers):
    """Towers that see one another as they see themselves."""

    @classmethod
    def check(cls, config: FusedConfig) -> None:
        """Towers of equal heads."""
        super().check(config)
        options_of(MotOptions, config.options)
