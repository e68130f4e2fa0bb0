"""What a model costs: parameters and floating-point operations, counted from its sizes.

Counts matrix products only (one multiply and one add = 2 operations), as MFU figures usually do;
norms, rotations and softmax are left out. The embedding is a look-up and costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from vermeil_model.config import ModelConfig
from vermeil_model.image_config import ImageConfig
from vermeil_model.image_model import NUM_MODULATIONS, TIME_FEATURES


class ParameterCount(NamedTuple):
    """Where the parameters sit."""

    embedding: int
    """Token embedding."""
    layers: int
    """All layers and the final norm."""
    head: int
    """Readout; 0 where tied to the embedding."""

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def count_parameters(config: ModelConfig) -> ParameterCount:
    """Exact counts, without building the model."""
    norms = 2 * config.width + (2 * config.head_width if config.qk_norm else 0)
    vocabulary = config.vocab_size * config.width
    return ParameterCount(
        embedding=vocabulary,
        layers=config.depth * (layer_matrices(config) + norms) + config.width,
        head=0 if config.tie_embeddings else vocabulary,
    )


def flops_per_token(config: ModelConfig, context: int, *, training: bool = True) -> float:
    """Operations per token in a causal sequence of `context` tokens; training is three times a forward.

    Causal attention is counted at what it needs: on average (context + 1) / 2 keys per query.
    """
    matrices = config.depth * layer_matrices(config) + config.vocab_size * config.width
    attention = config.depth * 2 * config.num_heads * config.head_width * (context + 1) / 2
    forward = 2.0 * (matrices + attention)
    return 3.0 * forward if training else forward


def image_flops(config: ImageConfig) -> float:
    """Operations of one picture's forward pass, without attention."""
    matrices = config.depth * layer_matrices(config.tower) + 2 * config.patch_width * config.width
    of_time = (TIME_FEATURES + config.width) * config.width
    if config.adaln:
        of_time += config.width * config.width * (config.depth * NUM_MODULATIONS + 2)
    return 2.0 * (config.num_patches * matrices + of_time)


def layer_matrices(config: ModelConfig) -> int:
    """Weights in the matrices of one layer."""
    heads = 2 * config.num_heads + 2 * config.num_key_value_heads
    attention = config.width * heads * config.head_width
    return attention + 3 * config.width * config.feed_forward_width
