"""The layers of the text tower: RMSNorm, attention with grouped heads, SwiGLU, and the block of them.

They know nothing of tokens, caches or losses. Unusual: query, key and value come from one matrix and
gate and up from another (rows in that order), because few large products are quicker than many small.
A block opens into queries, keys and values and closes with what attention gave: towers attend jointly.

Letters: B batch, T tokens, D width, H query heads, K key/value heads, E head width, F feed-forward,
G gate and up.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vermeil_model.attention import Attend
from vermeil_model.config import ModelConfig
from vermeil_model.linear import linear
from vermeil_model.rms_norm import TrainableRMSNorm
from vermeil_model.rotary import rotate
from vermeil_model.swiglu import TrainableSwiGLU
from vermeil_model.turn import TrainableTurn


class Linear(nn.Linear):
    """A matrix without bias whose values come from `TextModel.init_weights` or a checkpoint."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__(num_in, num_out, bias=False)

    def reset_parameters(self) -> None:
        """Leave the memory as it is and the global random state untouched."""

    def forward(self, x: Tensor) -> Tensor:
        """x · Wᵀ."""
        return linear(x, self.weight)


class RMSNorm(nn.Module):
    """Divides by the root of the mean square, then scales by a learned weight."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Any shape (…, width), computed in float32 inside; under autocast in its dtype outside."""
        if _learns_eagerly_on_cpu(x):
            dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
            normalised: Tensor = TrainableRMSNorm.apply(x, self.weight, self.epsilon, dtype)
            return normalised
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.epsilon)


class Attention(nn.Module):
    """Queries, keys and values of one tower, and its way back into the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._heads = [config.num_heads, config.num_key_value_heads, config.num_key_value_heads]
        self._head_width = config.head_width
        self.qkv = Linear(config.width, sum(self._heads) * config.head_width)
        self.output = Linear(config.num_heads * config.head_width, config.width)
        self.query_norm = RMSNorm(config.head_width, config.norm_epsilon) if config.qk_norm else None
        self.key_norm = RMSNorm(config.head_width, config.norm_epsilon) if config.qk_norm else None

    def project(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries (B, T, H, E) and keys (B, T, K, E), and values (B, T, K, E)."""
        heads = self.qkv(x_BTD).unflatten(-1, (sum(self._heads), self._head_width))
        queries, keys, values = torch.split(heads, self._heads, dim=-2)
        if self.query_norm is not None and self.key_norm is not None:
            if heads.device.type == "cpu" and torch.is_grad_enabled():
                queries, keys = self._turn(heads[..., : sum(self._heads[:2]), :], rotation)
                return queries, keys, values
            queries, keys = self.query_norm(queries), self.key_norm(keys)
        return rotate(queries, *rotation), rotate(keys, *rotation), values

    def _turn(self, heads: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Queries and keys, normalised and rotated together."""
        assert self.query_norm is not None
        assert self.key_norm is not None
        num_heads, num_keys, _ = self._heads
        weight = (self.query_norm.weight.expand(num_heads, -1), self.key_norm.weight.expand(num_keys, -1))
        turned = TrainableTurn.apply(heads, torch.cat(weight), *rotation, self.query_norm.epsilon)
        return turned.split((num_heads, num_keys), dim=-2)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.width, 2 * config.feed_forward_width)
        self.down = Linear(config.feed_forward_width, config.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Same shape out."""
        gate_up_BTG = self.gate_up(x_BTD)
        if _learns_eagerly_on_cpu(x_BTD):
            inner_BTF = TrainableSwiGLU.apply(gate_up_BTG)
        else:
            gate_BTF, up_BTF = gate_up_BTG.chunk(2, dim=-1)
            inner_BTF = functional.silu(gate_BTF) * up_BTF
        down: Tensor = self.down(inner_BTF)
        return down


class Modulation(NamedTuple):
    """What shifts, scales and gates one layer (AdaLN), each (B, 1, D)."""

    attention_shift: Tensor
    attention_scale: Tensor
    attention_gate: Tensor
    feed_forward_shift: Tensor
    feed_forward_scale: Tensor
    feed_forward_gate: Tensor


class Block(nn.Module):
    """One pre-norm layer: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_epsilon)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_epsilon)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x_BTD: Tensor,
        rotation: tuple[Tensor, Tensor],
        attend: Attend,
        layer: int,
        modulation: Modulation | None = None,
    ) -> Tensor:
        """Same shape out; `attend` decides which tokens see which."""
        mixed = attend(*self.open(x_BTD, rotation, modulation), layer)
        return self.close(x_BTD, mixed, modulation)

    def open(
        self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], modulation: Modulation | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What is attended with: rotated queries and keys, and values."""
        normalised_BTD = self.attention_norm(x_BTD)
        if modulation is not None:
            normalised_BTD = modulate(normalised_BTD, modulation.attention_shift, modulation.attention_scale)
        return self.attention.project(normalised_BTD, rotation)

    def close(self, x_BTD: Tensor, mixed_BTHE: Tensor, modulation: Modulation | None = None) -> Tensor:
        """The residual stream once what attention gave has been added, and the feed-forward has run."""
        mixed_BTD = self.attention.output(mixed_BTHE.flatten(-2))
        if modulation is None:
            x_BTD = x_BTD + mixed_BTD
            out_BTD: Tensor = x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
            return out_BTD
        x_BTD = torch.addcmul(x_BTD, modulation.attention_gate, mixed_BTD)
        normalised_BTD = modulate(
            self.feed_forward_norm(x_BTD), modulation.feed_forward_shift, modulation.feed_forward_scale
        )
        return torch.addcmul(x_BTD, modulation.feed_forward_gate, self.feed_forward(normalised_BTD))


def _learns_eagerly_on_cpu(x: Tensor) -> bool:
    """Where a backward of our own is the quicker one; a compiler fuses the plain form by itself."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def modulate(x_BTD: Tensor, shift_B1D: Tensor, scale_B1D: Tensor) -> Tensor:
    """scale · x + shift."""
    return torch.addcmul(shift_B1D, scale_B1D, x_BTD)
