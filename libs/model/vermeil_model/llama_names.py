"""How Llama checkpoints name what a layer holds: their matrices are rows of fewer and larger ones of ours."""

from __future__ import annotations

from vermeil_model.config import ModelConfig

LAYER_NAMES = {
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.query_norm": ("self_attn.q_norm",),
    "attention.key_norm": ("self_attn.k_norm",),
    "attention.output": ("self_attn.o_proj",),
    "feed_forward_norm": ("post_attention_layernorm",),
    "feed_forward.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "feed_forward.down": ("mlp.down_proj",),
}
"""Our name of each weight of a layer → theirs; several of theirs are rows of one of ours."""


def row_counts(name: str, config: ModelConfig) -> list[int]:
    """How many rows of our matrix belong to each of theirs; none where it is one."""
    matrix = name.removesuffix(".weight")
    if matrix.endswith("attention.qkv"):
        heads = (config.num_heads, config.num_key_value_heads, config.num_key_value_heads)
        return [count * config.head_width for count in heads]
    if matrix.endswith("feed_forward.gate_up"):
        return [config.feed_forward_width] * 2
    return []
