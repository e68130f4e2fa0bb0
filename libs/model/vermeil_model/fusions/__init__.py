"""The ways of joining towers, one file each."""

from __future__ import annotations

from collections.abc import Mapping

from vermeil_errors import InvalidInput

from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_model import FusedModel
from vermeil_model.fusions.alloy import Alloy
from vermeil_model.fusions.cross_attention import CrossAttention
from vermeil_model.fusions.dense import Dense
from vermeil_model.fusions.low_rank import LowRank
from vermeil_model.fusions.mot import Mot
from vermeil_model.fusions.prefix import Prefix

FUSIONS: Mapping[str, type[FusedModel]] = {
    "alloy": Alloy,
    "mot": Mot,
    "low_rank": LowRank,
    "dense": Dense,
    "prefix": Prefix,
    "cross_attention": CrossAttention,
}


def check_fusion(config: FusedConfig) -> type[FusedModel]:
    """The class of models of this config; what cannot be joined so is refused, by name."""
    if config.fusion not in FUSIONS:
        raise InvalidInput.for_field(
            "fusion", config.fusion, "is not known", f"Use one of {', '.join(FUSIONS)}."
        )
    fusion = FUSIONS[config.fusion]
    fusion.check(config)
    return fusion


def make_fused(config: FusedConfig) -> FusedModel:
    """A model of this config with fresh weights."""
    return check_fusion(config)(config)
