"""What a fused model learns from: cross entropy of text and flow matching of pictures, in one pass.

Letters: B rows, T text slots, M picture slots, K tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.cross_entropy import IGNORED_TARGET
from vermeil_model.flow import LEAST_REMAINING_TIME, add_noise, times_at
from vermeil_model.fused_model import FusedModel, FusedOutput
from vermeil_model.spans import NO_SAMPLE, MixedInputs

FLOW_WEIGHT = 3.0
"""Of the flow loss beside the cross entropy."""
LENGTH_POWER = 0.5
"""A stretch of n learned tokens counts as n to this power: between 1, where long texts drown short answers,
and 0, where a token of a long text hardly counts (square averaging, InternVL 2.5, arXiv 2412.05271)."""


class LearningInputs(MixedInputs, Protocol):
    """Rows with what is to be learned from them."""

    @property
    def targets_BT(self) -> Tensor:  # noqa: N802
        """int64; −100 where nothing is learned."""

    @property
    def text_task_BT(self) -> Tensor:  # noqa: N802
        """Number of the task that the token is of."""

    @property
    def picture_task_BM(self) -> Tensor:  # noqa: N802
        """Number of the task that the picture is of."""


class TaskLosses(NamedTuple):
    """Sums over what is learned, by task, without gradients, each (K)."""

    text: Tensor
    """Of the cross entropy of tokens, nats."""
    num_tokens: Tensor
    flow: Tensor
    """Of the mean squared error of pictures' velocities."""
    num_pictures: Tensor


class FusedLosses(NamedTuple):
    """What one batch costs."""

    text: Tensor
    """Mean cross entropy of learned tokens by their importance, nats; 0 where there are none."""
    flow: Tensor
    """Mean squared error of the velocity of drawn pictures; 0 where there are none."""
    tasks: TaskLosses

    def total(self, flow_weight: float = FLOW_WEIGHT) -> Tensor:
        """What is made small."""
        return self.text + flow_weight * self.flow


def fused_losses(
    model: FusedModel,
    inputs: LearningInputs,
    images_BMCHW: Tensor,
    generator: torch.Generator,
    *,
    drop: float = 0.1,
    num_tasks: int = 1,
    forward: Callable[..., FusedOutput] | None = None,
) -> FusedLosses:
    """The losses of rows whose pictures are clean, −1 … 1.

    `forward` is the model as it is called, where it is compiled or wrapped for several processes.

    Noise, times and which of the drawn pictures lose their prompt (a share of `drop`, for guidance) come
    from the generator alone, which lives where the pictures do.
    """
    if not 0 <= drop <= 1:
        raise InvalidInput.for_field("drop", drop, "is no share", "Use 0 to 1; 0.1 is usual.")
    images_BMCHW = images_BMCHW.float()
    noisy_BM = inputs.picture_noisy_BM & (inputs.picture_sample_BM != NO_SAMPLE)
    times_BM = draw_slot_times(noisy_BM, generator)
    noise_BMCHW = torch.randn(images_BMCHW.shape, generator=generator, device=generator.device)
    prompted_BM = torch.rand(noisy_BM.shape, generator=generator, device=generator.device) >= drop
    mixed = add_noise(images_BMCHW.flatten(0, 1), noise_BMCHW.flatten(0, 1), times_BM.flatten())
    shown_BMCHW = torch.where(noisy_BM[..., None, None, None], mixed.view_as(images_BMCHW), images_BMCHW)
    output = (forward or model)(inputs, shown_BMCHW, times_BM, prompted_BM)
    text = model.text_losses(output.hidden_BTD, inputs.targets_BT, importance(inputs))
    remaining_BM = (1 - times_BM).clamp_min(LEAST_REMAINING_TIME)
    error_BMCHW = (output.predicted_BMCHW.float() - images_BMCHW) / remaining_BM[..., None, None, None]
    flow_BM = error_BMCHW.square().mean((2, 3, 4)) * noisy_BM
    flow = flow_BM.sum() / noisy_BM.sum().clamp_min(1)
    learned_BT = inputs.targets_BT != IGNORED_TARGET
    tasks = TaskLosses(
        *_by_task(text.each_N.view(learned_BT.shape), learned_BT, inputs.text_task_BT, num_tasks),
        *_by_task(flow_BM.detach(), noisy_BM, inputs.picture_task_BM, num_tasks),
    )
    return FusedLosses(text.mean, flow, tasks)


def loss_weights(inputs: LearningInputs) -> Tensor:
    """How much the means of text and of flow are over, (2): importance of learned tokens, drawn pictures."""
    learned_BT = inputs.targets_BT != IGNORED_TARGET
    noisy_BM = inputs.picture_noisy_BM & (inputs.picture_sample_BM != NO_SAMPLE)
    return torch.stack([(importance(inputs) * learned_BT).sum(), noisy_BM.sum().float()])


def draw_slot_times(noisy_BM: Tensor, generator: torch.Generator) -> Tensor:
    """Times of the noisy slots, one from each equal slice of their distribution; 1 elsewhere."""
    noisy_N = noisy_BM.flatten()
    drawn_2N = torch.rand(2, len(noisy_N), generator=generator, device=generator.device, dtype=torch.float64)
    order_N = (drawn_2N[0] + ~noisy_N).argsort().argsort()  # noisy slots have the first places
    quantiles_N = (order_N + drawn_2N[1]) / noisy_N.sum().clamp_min(1)
    return times_at(quantiles_N).where(noisy_N, 1.0).view_as(noisy_BM)


def importance(inputs: LearningInputs) -> Tensor:
    """What a learned token counts, (B, T): n^(LENGTH_POWER − 1) in a stretch of n of them in one sample.

    So each answer of a conversation counts as it would alone.
    """
    learned_BT = inputs.targets_BT != IGNORED_TARGET
    sample_BT = inputs.text_sample_BT
    goes_on_BT = torch.zeros_like(learned_BT)
    goes_on_BT[:, 1:] = learned_BT[:, :-1] & (sample_BT[:, 1:] == sample_BT[:, :-1])
    stretch_BT = (learned_BT & ~goes_on_BT).cumsum(1).sub(1).clamp_min(0)
    counts_BT = torch.zeros_like(learned_BT, dtype=torch.float).scatter_add_(
        1, stretch_BT, learned_BT.float()
    )
    return counts_BT.gather(1, stretch_BT).clamp_min(1) ** (LENGTH_POWER - 1)


def _by_task(values: Tensor, counted: Tensor, tasks: Tensor, num_tasks: int) -> tuple[Tensor, Tensor]:
    held_N = tasks.flatten().clamp_min(0)
    sums = values.new_zeros(num_tasks).index_add_(0, held_N, (values * counted).flatten())
    counts = torch.zeros(num_tasks, dtype=torch.long, device=values.device)
    return sums, counts.index_add_(0, held_N, counted.flatten().long())
