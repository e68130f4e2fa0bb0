"""What is made small: functions that turn a batch into a loss, by the model's own loss.

Random numbers come from the generator alone, so that a resumed run and every validation draw the same.
Where gradients are off a loss is measured: nothing is dropped, shifted or smoothed then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from vermeil_data.image_loader import ImageBatch
from vermeil_data.loader import Batch
from vermeil_data.mixed_batch import NO_SAMPLE, MixedBatch
from vermeil_model import Conditions, FusedModel, classification_loss, flow_loss, from_pixels, fused_losses
from vermeil_model.fused_losses import loss_weights

BatchT_contra = TypeVar("BatchT_contra", contravariant=True)

DROP = 0.1
"""Share of conditions left out while learning, so that pictures can be guided."""
SMOOTHING = 0.1
"""Share of a class's weight that all classes have in common while learning."""
PIXELS_A_SHIFT = 28
"""Pictures are shifted by up to a pixel for each so many of theirs."""


class Work(NamedTuple):
    """What a batch gave the network to do in one modality."""

    unit: str
    """What is counted, such as tokens."""
    num_read: Tensor
    """So many were read, in slots that were not empty."""
    flops: Tensor
    """Operations of the forward pass for them; training takes three times as many."""


class Losses(NamedTuple):
    """A loss of several parts."""

    total: Tensor
    """What is made small."""
    parts: Mapping[str, tuple[Tensor, Tensor]]
    """Parts of it for the log: sum and count; every batch has the same names, with count 0 what it lacks."""
    work: Mapping[str, Work] = MappingProxyType({})
    """By modality, for its speed in the log."""
    means: Tensor | None = None
    """(K): the means that `total` is the sum of, of an objective of several; None where it is one mean."""


class Objective(Protocol[BatchT_contra]):
    """What is made small."""

    def __call__(
        self, model: Callable[..., Any], batch: BatchT_contra, generator: torch.Generator
    ) -> Tensor | Losses:
        """Mean loss of a batch on the model's device."""


@runtime_checkable
class SeveralMeans(Protocol[BatchT_contra]):
    """An objective that is the sum of means, each over something else that a batch holds."""

    def __call__(self, model: Callable[..., Any], batch: BatchT_contra, generator: torch.Generator) -> Losses:
        """The loss of a batch, with its means."""

    def weights(self, batch: BatchT_contra) -> Tensor:
        """How much each of the means is over, (K): so that several batches count as one large one."""


def next_token_loss(model: Callable[..., Any], batch: Batch, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Mean cross entropy of every next token, in nats."""
    output = model(batch.tokens_BT, targets_BT=batch.targets_BT, documents_BT=batch.documents_BT)
    loss: Tensor = output.loss
    return loss


def image_flow_loss(model: Callable[..., Any], batch: ImageBatch, generator: torch.Generator) -> Tensor:
    """Mean squared error of the flow's velocity, over all pixels."""
    images_BCHW = from_pixels(batch.pixels_BCHW)
    drop = DROP if torch.is_grad_enabled() else 0.0
    return flow_loss(model, images_BCHW, conditions_of(batch), generator, drop=drop)


def contrastive(model: Callable[..., Any], batch: ImageBatch, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Mean cross entropy of finding a picture's caption in the batch and a caption's picture, in nats."""
    loss: Tensor = model(from_pixels(batch.pixels_BCHW), batch.captions_BL, batch.caption_lengths_B)
    return loss


def classify(model: Callable[..., Any], batch: ImageBatch, generator: torch.Generator) -> Tensor:
    """Mean cross entropy of the classes, in nats; while learning, pictures are shifted, classes smoothed."""
    images_BCHW = from_pixels(batch.pixels_BCHW)
    assert batch.classes_B is not None  # the loader was told to bring them
    learning = torch.is_grad_enabled()
    most_shift = min(images_BCHW.shape[2:]) // PIXELS_A_SHIFT if learning else 0
    smoothing = SMOOTHING if learning else 0.0
    return classification_loss(
        model,  # type: ignore[arg-type]  # a module, also where it is compiled or wrapped
        images_BCHW,
        batch.classes_B,
        generator,
        most_shift=most_shift,
        smoothing=smoothing,
    )


@dataclass(frozen=True)
class ReadAndDraw:
    """Cross entropy of text in nats, and `flow_weight` times the flow's squared error of pictures.

    The log has both, and what each of the mixture's `tasks` pays for text and for pictures.
    """

    tasks: Sequence[str]
    flow_weight: float

    def __call__(self, model: Callable[..., Any], batch: MixedBatch, generator: torch.Generator) -> Losses:
        """The loss of a batch, with its means."""
        images_BMCHW = from_pixels(batch.pixels_BMCHW)
        drop = DROP if torch.is_grad_enabled() else 0.0
        network = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        found = fused_losses(
            network,  # type: ignore[arg-type]  # a compiled model has all that it was made of
            batch,
            images_BMCHW,
            generator,
            drop=drop,
            num_tasks=len(self.tasks),
            forward=model,
        )
        text, num_tokens, flow, num_pictures = found.tasks
        parts = {"text": (text.sum(), num_tokens.sum()), "image": (flow.sum(), num_pictures.sum())}
        for index, name in enumerate(self.tasks):
            parts[f"{name}/text"] = (text[index], num_tokens[index])
            parts[f"{name}/image"] = (flow[index], num_pictures[index])
        means = torch.stack([found.text, self.flow_weight * found.flow])
        return Losses(found.total(self.flow_weight), parts, mixed_work(network, batch), means)  # type: ignore[arg-type]

    def weights(self, batch: MixedBatch) -> Tensor:
        """Importance of learned tokens, and drawn pictures."""
        return loss_weights(batch)


def mixed_work(model: FusedModel, batch: MixedBatch) -> dict[str, Work]:
    """Tokens and pictures of a batch, each with its share of the network's operations."""
    num_tokens, num_pictures = batch.tokens_BT.shape[1], batch.picture_sample_BM.shape[1]
    of_text = model.flops(num_tokens, 0)
    found = {"text": ("tokens", batch.text_sample_BT, of_text)}
    if num_pictures:
        of_pictures = model.flops(num_tokens, num_pictures) - of_text
        found["image"] = ("pictures", batch.picture_sample_BM, of_pictures)
    work = {}
    for name, (unit, samples, flops_a_row) in found.items():
        used = (samples != NO_SAMPLE).sum()
        work[name] = Work(unit, used, used * (flops_a_row / samples.shape[1]))
    return work


def conditions_of(batch: ImageBatch) -> Conditions | None:
    """What the pictures of a batch show, as the loader was told to say it."""
    if batch.classes_B is not None:
        return Conditions(classes_B=batch.classes_B)
    if batch.captions_BL is not None:
        return Conditions(tokens_BL=batch.captions_BL, lengths_B=batch.caption_lengths_B)
    return None
