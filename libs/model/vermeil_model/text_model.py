"""The text tower as a language model: token ids in, logits or a loss out.

It knows nothing of tokenizers, optimizers or sampling. Weights are a function of the configuration
and a generator alone; the global random state is neither read nor moved.

Letters: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from vermeil_errors import InvalidInput

from vermeil_model.attention import Attend, CausalAttention
from vermeil_model.cache import CachedAttention, KeyValueCache
from vermeil_model.config import ModelConfig
from vermeil_model.cross_entropy import readout_cross_entropy
from vermeil_model.initial import draw_weight
from vermeil_model.layers import Block, Linear, RMSNorm
from vermeil_model.linear import compute_dtype
from vermeil_model.rotary import Rotary

Before = Callable[[int, Tensor], Tensor]
"""What the residual stream (B, T, D) goes through before each layer, by its number."""


class ModelOutput(NamedTuple):
    """What one forward pass gives."""

    logits: Tensor | None
    """(B, T, V) in the compute dtype; None when targets were given."""
    loss: Tensor | None
    """Mean cross entropy over counted targets, in nats, float32; None without targets."""


class TextModel(nn.Module):
    """A pre-norm decoder; fresh ones carry the weights of seed 0 until told otherwise."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(
            config.vocab_size, config.width, _weight=torch.empty(config.vocab_size, config.width)
        )
        self.rotary = Rotary(config)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.head = None if config.tie_embeddings else Linear(config.width, config.vocab_size)
        if not self.embedding.weight.is_meta:
            self.init_weights(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator` (on the CPU, float32), equal on every device and dtype."""
        for name, parameter in self.named_parameters():
            is_vocabulary = parameter.shape[0] == self.config.vocab_size and "layers" not in name
            draw_weight(name, parameter, generator, self.config.depth, 0.02 if is_vocabulary else None)

    def forward(
        self,
        tokens_BT: Tensor,
        *,
        targets_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
        positions: Tensor | None = None,
    ) -> ModelOutput:
        """Logits of every token, or with targets the loss alone.

        documents_BT numbers the packed document of each token; documents never see each other.
        positions are (T), (B, T) or, one a rotary axis, (3, B, T); by default 0, 1, 2, … or, with a
        cache, on from what it holds. With a cache its rows take these tokens up.
        """
        hidden_BTD = self.hidden(tokens_BT, documents_BT=documents_BT, cache=cache, positions=positions)
        if targets_BT is None:
            return ModelOutput(logits=self.readout(hidden_BTD), loss=None)
        loss = readout_cross_entropy(hidden_BTD.flatten(0, 1), self.readout_weight, targets_BT.flatten())
        return ModelOutput(logits=None, loss=loss)

    def hidden(
        self,
        tokens_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """The normalised residual stream after the last layer, (B, T, D)."""
        num_tokens = tokens_BT.shape[1]
        if cache is None:
            if positions is None:
                self._check_length(num_tokens)
                positions = torch.arange(num_tokens, device=tokens_BT.device)
            return self.transform(tokens_BT, positions, CausalAttention(documents_BT, self._compute_dtype()))
        attend = CachedAttention(cache, num_tokens)
        positions = attend.positions if positions is None else positions
        hidden_BTD = self.transform(tokens_BT, positions, attend)
        cache.lengths = [length + num_tokens for length in cache.lengths]
        return hidden_BTD

    def transform(
        self, tokens_BT: Tensor, positions: Tensor, attend: Attend, before: Before | None = None
    ) -> Tensor:
        """All layers and the final norm, (B, T, D), with any rule of which token sees which."""
        return self.transform_embedded(self.embedding(tokens_BT), positions, attend, before)

    def transform_embedded(
        self, x_BTD: Tensor, positions: Tensor, attend: Attend, before: Before | None = None
    ) -> Tensor:
        """The same from what the first layer sees."""
        rotation = self.rotary(positions, self._compute_dtype())
        x_BTD = x_BTD.to(self._compute_dtype())
        for index, layer in enumerate(self.layers):
            if before is not None:
                x_BTD = before(index, x_BTD)
            x_BTD = layer(x_BTD, rotation, attend, index)
        normalised: Tensor = self.norm(x_BTD)
        return normalised

    def readout(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) of a hidden state (…, D)."""
        return functional.linear(hidden, self.readout_weight)

    @property
    def readout_weight(self) -> Tensor:
        """The matrix that reads logits out, (V, D)."""
        return self.embedding.weight if self.head is None else self.head.weight

    def _compute_dtype(self) -> torch.dtype:
        return compute_dtype(self.embedding.weight)

    def _check_length(self, num_tokens: int) -> None:
        if num_tokens > self.config.context_length:
            raise InvalidInput.for_field(
                "tokens",
                num_tokens,
                f"exceed the context of {self.config.context_length} tokens",
                "Shorten the sequence or use a model with a longer context.",
            )
