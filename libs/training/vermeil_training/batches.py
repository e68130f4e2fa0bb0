"""What the loop knows of data: that batches come one after another, and how much is in one.

Tokens, pictures or pairs of both: what a batch holds is between the loader and the objective. Loaders
of vermeil-data fit; so does anything else with these few members.
"""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor


class TrainingBatch(Protocol):
    """What one step reads."""

    @property
    def num_items(self) -> int:
        """Tokens or pictures, as the run counts them: for its speed."""

    @property
    def num_targets(self) -> Tensor | int:
        """How many of them the mean loss is over: for means of several batches."""

    def to(self, device: torch.device) -> Self:
        """The same on the device that computes."""


BatchT_co = TypeVar("BatchT_co", bound=TrainingBatch, covariant=True)


class Position(Protocol):
    """Where a loader stands, in plain values."""

    def to_dict(self) -> dict[str, Any]:
        """For json.dumps."""

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """From json.loads."""


class Batches(Protocol[BatchT_co]):
    """An endless row of batches that knows where it stands."""

    def __next__(self) -> BatchT_co:
        """The next batch of this process."""

    def state(self) -> Position:
        """Where it stands."""

    def restore(self, state: Any, /) -> None:
        """Go on from there."""
