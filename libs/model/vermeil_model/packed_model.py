"""A frozen text tower that reads flat rows of tokens: what decoding runs on.

The same mathematics as TextModel (tests hold them equal), in as few operations as PyTorch allows:
packed matrices, residuals and SwiGLU fused into products, rotation and attention in float32, where the
CPU's attention kernel is quickest. A snapshot: it does not follow later training of the model.

Letters: N tokens of all sequences, D width, H query heads, K key/value heads, E head width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vermeil_model.attention import Attend
from vermeil_model.layers import Block
from vermeil_model.llama_names import row_counts
from vermeil_model.packed_matrix import PackedMatrix, pack, pack_rows
from vermeil_model.rotary import rotate
from vermeil_model.text_model import Before, TextModel


@dataclass(frozen=True)
class PackedBlock:
    """One layer's matrices, packed, and its norms."""

    attention_norm: Tensor
    qkv: PackedMatrix
    head_norm: Tensor | None
    """Weights of query and key norms, (H + K, E), or None without QK-norm."""
    output: PackedMatrix
    feed_forward_norm: Tensor
    gate: PackedMatrix
    up: PackedMatrix
    down: PackedMatrix

    @classmethod
    def of(cls, block: Block, num_heads: int, num_key_value_heads: int) -> PackedBlock:
        """A snapshot of `block`."""
        attention, feed_forward = block.attention, block.feed_forward
        gate, up = pack_rows(feed_forward.gate_up, 2)
        (qkv,), (output,), (down,) = map(pack_rows, (attention.qkv, attention.output, feed_forward.down))
        head_norm = None
        if attention.query_norm is not None and attention.key_norm is not None:
            query, key = attention.query_norm.weight, attention.key_norm.weight
            rows = (query.expand(num_heads, -1), key.expand(num_key_value_heads, -1))
            head_norm = torch.cat(rows).detach().float()
        return cls(
            attention_norm=block.attention_norm.weight.detach(),
            qkv=qkv,
            head_norm=head_norm,
            output=output,
            feed_forward_norm=block.feed_forward_norm.weight.detach(),
            gate=gate,
            up=up,
            down=down,
        )


class Added(Protocol):
    """What is added to the products of a step: `RowAdapters`."""

    def add(self, matrix: str, layer: int, x_NI: Tensor, *parts_NO: Tensor) -> None:
        """Add to the products of one matrix with x, in place, to each of its parts."""


class PackedModel:
    """Tokens in, hidden states and logits out, for any number of sequences laid end to end."""

    def __init__(self, model: TextModel) -> None:
        config = model.config
        self.config = config
        self.dtype = model.embedding.weight.dtype
        self.device = model.embedding.weight.device
        self._embedding_VD = model.embedding.weight.detach()
        self._table = model.rotary.table.detach()
        self._num_turning = config.num_heads + config.num_key_value_heads
        self._qkv_rows = row_counts("attention.qkv", config)
        self._layers = [
            PackedBlock.of(layer, config.num_heads, config.num_key_value_heads)
            for layer in model.layers
            if isinstance(layer, Block)
        ]
        self._norm = model.norm.weight.detach()
        self._head = pack(model.embedding.weight if model.head is None else model.head.weight)

    def transform(
        self, tokens_BT: Tensor, positions: Tensor, attend: Attend, before: Before | None = None
    ) -> Tensor:
        """The normalised residual stream after the last layer, (B, T, D)."""
        return self.hidden(tokens_BT, positions, attend, before=before).view(*tokens_BT.shape, -1)

    def hidden(
        self,
        tokens_BT: Tensor,
        positions: Tensor,
        attend: Attend,
        added: Added | None = None,
        before: Before | None = None,
    ) -> Tensor:
        """The same in one row, (B·T, D)."""
        config = self.config
        heads_shape = (*tokens_BT.shape, -1, config.head_width)
        cosine, sine = self._table[:, positions].unbind(0)
        x_ND = functional.embedding(tokens_BT.flatten(), self._embedding_VD)
        for index, layer in enumerate(self._layers):
            if before is not None:
                x_ND = before(index, x_ND.view(*tokens_BT.shape, -1)).flatten(0, 1)
            normalised_ND = self._normalise(x_ND, layer.attention_norm)
            heads_NO = layer.qkv.apply(normalised_ND)
            if added is not None:
                added.add("attention.qkv", index, normalised_ND, *torch.split(heads_NO, self._qkv_rows, 1))
            heads = heads_NO.view(heads_shape).float()
            turning, values = heads[..., : self._num_turning, :], heads[..., self._num_turning :, :]
            if layer.head_norm is not None:
                turning = self._normalise(turning, None) * layer.head_norm
            turned = rotate(turning, cosine, sine)
            queries, keys = turned[..., : config.num_heads, :], turned[..., config.num_heads :, :]
            mixed_NO = attend(queries, keys, values, index).to(self.dtype).reshape(len(x_ND), -1)
            x_ND = layer.output.add(mixed_NO, x_ND)
            if added is not None:
                added.add("attention.output", index, mixed_NO, x_ND)
            x_ND = self._feed_forward(index, x_ND, added)
        return self._normalise(x_ND, self._norm)

    def _feed_forward(self, index: int, x_ND: Tensor, added: Added | None) -> Tensor:
        layer = self._layers[index]
        normalised_ND = self._normalise(x_ND, layer.feed_forward_norm)
        if added is None:
            gated_NF = layer.up.multiply(normalised_ND, layer.gate.gate(normalised_ND))
            return layer.down.add(gated_NF, x_ND)
        gate_NF, up_NF = layer.gate.apply(normalised_ND), layer.up.apply(normalised_ND)
        added.add("feed_forward.gate_up", index, normalised_ND, gate_NF, up_NF)
        gated_NF = functional.silu(gate_NF) * up_NF
        x_ND = layer.down.add(gated_NF, x_ND)
        added.add("feed_forward.down", index, gated_NF, x_ND)
        return x_ND

    def readout(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) in float32 of hidden states (…, D)."""
        logits_NV = self._head.apply(hidden.flatten(0, -2)).float()
        return logits_NV.view(*hidden.shape[:-1], -1)

    def _normalise(self, x: Tensor, weight: Tensor | None) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], weight, self.config.norm_epsilon)
