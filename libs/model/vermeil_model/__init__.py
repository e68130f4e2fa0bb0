"""The network of Vermeil and every form of it."""

from vermeil_model.accounting import ParameterCount, count_parameters, flops_per_token
from vermeil_model.cache import KeyValueCache
from vermeil_model.config import SIZES, ModelConfig, RopeScaling
from vermeil_model.text_model import IGNORED_TARGET, ModelOutput, TextModel

__all__ = [
    "IGNORED_TARGET",
    "SIZES",
    "KeyValueCache",
    "ModelConfig",
    "ModelOutput",
    "ParameterCount",
    "RopeScaling",
    "TextModel",
    "count_parameters",
    "flops_per_token",
]
