"""In which form the text tower of a fused model reads and writes: as it learns, or frozen.

Letters: B rows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from vermeil_model.attention import Attend
from vermeil_model.text_model import Before


class TextTower(Protocol):
    """What `TextModel` and `PackedModel` have in common."""

    def transform(
        self, tokens_BT: Tensor, positions: Tensor, attend: Attend, before: Before | None = None
    ) -> Tensor:
        """All layers and the final norm, (B, T, D)."""

    def readout(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) of hidden states (…, D)."""


class TextForm(NamedTuple):
    """A tower, and in the same form what a fusion has between its layers."""

    tower: TextTower
    between: Sequence[Callable[..., Tensor]] = ()
