"""What is made small: functions that turn a batch into a loss, by the model's own loss.

Random numbers come from the generator alone, so that a resumed run and every validation draw the same.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from vermeil_data.loader import Batch

BatchT_contra = TypeVar("BatchT_contra", contravariant=True)


class Objective(Protocol[BatchT_contra]):
    """What is made small."""

    def __call__(self, model: Callable[..., Any], batch: BatchT_contra, generator: torch.Generator) -> Tensor:
        """Mean loss of a batch on the model's device."""


def next_token_loss(model: Callable[..., Any], batch: Batch, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Mean cross entropy of every next token, in nats."""
    output = model(batch.tokens_BT, targets_BT=batch.targets_BT, documents_BT=batch.documents_BT)
    loss: Tensor = output.loss
    return loss
