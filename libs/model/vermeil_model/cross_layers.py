"""Layers between those of a tower that look at what another tower found, and their frozen form.

Each looks, then thinks, both behind a gate tanh(g). Who has nothing to look at passes unchanged.

Letters: B rows, Q queries, S what is looked at, N queries of all rows, D width, K key/value heads, E head
width.
"""
# ruff: noqa: N815

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vermeil_model.attention import additive_mask, scaled_dot_product
from vermeil_model.config import ModelConfig
from vermeil_model.fused_memory import attend_known
from vermeil_model.initial import draw_weight
from vermeil_model.layers import FeedForward, Linear, RMSNorm
from vermeil_model.packed_matrix import pack


class Sight(NamedTuple):
    """Who may look at what; made for one pass."""

    mask_B1QS: Tensor | None
    """Additive; Q may be 1. None where everyone sees all."""
    seeing_BQ1: Tensor | None
    """1 where there is anything to look at, else 0; None where everyone sees something."""

    @classmethod
    def of(cls, visible_BQS: Tensor, dtype: torch.dtype) -> Sight:
        """By what each may look at."""
        seeing_BQ1 = visible_BQS.any(-1, keepdim=True)
        mask_B1QS = additive_mask((visible_BQS | ~seeing_BQ1)[:, None], dtype)
        return cls(mask_B1QS, seeing_BQ1.to(dtype))

    @classmethod
    def of_rows(cls, lengths: Sequence[int], dtype: torch.dtype, device: torch.device) -> Sight:
        """All of a row look at so much from the beginning; at least one sees something."""
        longest = max(lengths)
        if min(lengths) == longest:
            return cls(None, None)
        lengths_B = torch.tensor(lengths, device=device)
        sight = cls.of((torch.arange(longest, device=device) < lengths_B[:, None])[:, None], dtype)
        return sight if min(lengths) == 0 else sight._replace(seeing_BQ1=None)

    def of_seeing(self, x_BQD: Tensor) -> Tensor:
        """0 for those who see nothing."""
        return x_BQD if self.seeing_BQ1 is None else x_BQD * self.seeing_BQ1


class View(NamedTuple):
    """What the layers of a tower look at."""

    keys: Sequence[Tensor]
    """One a layer, (B, S, K, E)."""
    values: Sequence[Tensor]
    """One a layer, (B, S, K, E)."""
    sight: Sight


class Look(Protocol):
    """A layer that looks across, in whichever form."""

    def __call__(self, x_BQD: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, sight: Sight) -> Tensor:
        """Same shape out."""


class CrossLayer(nn.Module):
    """x + tanh(g₁) · attention, then x + tanh(g₂) · feed-forward. Nothing is rotated."""

    def __init__(self, tower: ModelConfig, width_seen: int) -> None:
        super().__init__()
        width, self._head_width = tower.width, tower.head_width
        self.attention_norm = RMSNorm(width, tower.norm_epsilon)
        self.query = Linear(width, tower.num_heads * tower.head_width)
        self.key_value = Linear(width_seen, 2 * tower.num_key_value_heads * tower.head_width)
        self.output = Linear(tower.num_heads * tower.head_width, width)
        self.query_norm = RMSNorm(tower.head_width, tower.norm_epsilon) if tower.qk_norm else None
        self.key_norm = RMSNorm(tower.head_width, tower.norm_epsilon) if tower.qk_norm else None
        self.feed_forward_norm = RMSNorm(width, tower.norm_epsilon)
        self.feed_forward = FeedForward(tower)
        self.gate_2 = nn.Parameter(torch.zeros(2))

    def look_at(self, states_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, S, K, E) of the other tower's states."""
        heads = self.key_value(states_BSD).unflatten(-1, (-1, self._head_width))
        keys, values = heads.chunk(2, dim=-2)
        return keys if self.key_norm is None else self.key_norm(keys), values

    def forward(self, x_BQD: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, sight: Sight) -> Tensor:
        """Same shape out."""
        attention_gate, feed_forward_gate = self.gate_2.tanh().to(x_BQD.dtype).unbind()
        queries = self.query(self.attention_norm(x_BQD)).unflatten(-1, (-1, self._head_width))
        if self.query_norm is not None:
            queries = self.query_norm(queries)
        mixed = scaled_dot_product(queries, keys_BSKE, values_BSKE, sight.mask_B1QS, causal=False)
        x_BQD = x_BQD + attention_gate * sight.of_seeing(self.output(mixed.flatten(-2)))
        thought_BQD = self.feed_forward(self.feed_forward_norm(x_BQD))
        out_BQD: Tensor = x_BQD + feed_forward_gate * sight.of_seeing(thought_BQD)
        return out_BQD

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator, num_layers: int, start: float) -> None:
        """Draw all weights from `generator`; g is `start`."""
        for name, weight in self.named_parameters():
            if name == "gate_2":
                weight.fill_(start)
            else:
                draw_weight(name, weight, generator, num_layers)

    def flops(self, num_queries: int, num_seen: int) -> float:
        """Operations where all queries look at all that is seen."""
        of_seen = num_seen * self.key_value.weight.numel()
        matrices = (self.query, self.output, self.feed_forward.gate_up, self.feed_forward.down)
        of_queries = num_queries * sum(matrix.weight.numel() for matrix in matrices)
        return 2.0 * (of_seen + of_queries) + 4.0 * num_queries * num_seen * self.query.weight.shape[0]


class PackedCrossLayer:
    """A snapshot of a layer that is open so far, its gates within its matrices."""

    def __init__(self, layer: CrossLayer, openness: float) -> None:
        gates = layer.gate_2.detach().float().tanh().tolist()
        gate, up = layer.feed_forward.gate_up.weight.chunk(2)
        self._openness = openness
        self._norms = [norm.weight.detach() for norm in (layer.attention_norm, layer.feed_forward_norm)]
        self._query_norm = None if layer.query_norm is None else layer.query_norm.weight.detach()
        self._query = pack(layer.query.weight)
        self._output = pack(layer.output.weight.detach() * gates[0])
        self._gate, self._up = pack(gate), pack(up)
        self._down = pack(layer.feed_forward.down.weight.detach() * gates[1])
        self._epsilon = layer.attention_norm.epsilon

    def __call__(self, x_BQD: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, sight: Sight) -> Tensor:
        """Same shape out."""
        x_ND = x_BQD.flatten(0, 1)
        queries = self._query.apply(self._normalised(x_ND, self._norms[0]))
        queries = queries.view(*x_BQD.shape[:2], -1, keys_BSKE.shape[-1]).to(keys_BSKE.dtype)
        if self._query_norm is not None:
            queries = self._normalised(queries, self._query_norm.to(queries.dtype))
        mixed = attend_known(queries, keys_BSKE, values_BSKE, sight.mask_B1QS).to(x_BQD.dtype)
        mixed_ND = sight.of_seeing(mixed.flatten(2)).flatten(0, 1)
        looked_ND = self._output.add(mixed_ND, x_ND)
        normalised_ND = self._normalised(looked_ND, self._norms[1])
        inner_NF = self._up.multiply(normalised_ND, self._gate.gate(normalised_ND))
        inner_NF = sight.of_seeing(inner_NF.view(*x_BQD.shape[:2], -1)).flatten(0, 1)
        out_BQD = self._down.add(inner_NF, looked_ND).view_as(x_BQD)
        return out_BQD if self._openness == 1 else torch.lerp(x_BQD, out_BQD, self._openness)

    def _normalised(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], weight, self._epsilon)
