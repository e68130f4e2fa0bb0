"""Flow matching: what is trained, and how a prediction moves a noisy picture.

A noisy picture is z = t·x + (1 − t)·ε, its velocity x − ε. The network predicts x̂, and
v = (x̂ − z) / (1 − t); the loss is that of the velocity, with 1 − t held above a floor. Nothing here
knows the network.

Letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.conditions import Conditions

TIME_MEAN = 0.0
TIME_DEVIATION = 1.0
"""Times are drawn as sigmoid(N(mean, deviation)), as in arXiv 2403.03206. The (−0.8, 0.8) of JiT, made for
large pictures, draws one time in 300 beyond 0.8, where small pictures get their detail."""
LEAST_REMAINING_TIME = 0.05
"""Floor of 1 − t in the loss, so that nearly clean pictures do not drown the others."""


def flow_loss(
    model: Callable[..., Tensor],
    images_BCHW: Tensor,
    conditions: Conditions | None,
    generator: torch.Generator,
    *,
    drop: float = 0.1,
    time_mean: float = TIME_MEAN,
    time_deviation: float = TIME_DEVIATION,
) -> Tensor:
    """Mean squared error of the velocity, float32, for pictures of −1 … 1.

    `model` is called as model(noisy, times, conditions). A share of `drop` of the conditions is left
    out, for guidance. Random numbers come from the generator alone, which lives where the pictures do.
    """
    if not 0 <= drop <= 1:
        raise InvalidInput.for_field("drop", drop, "is no share", "Use 0 to 1; 0.1 is usual.")
    images_BCHW = images_BCHW.float()
    times_B = draw_times(len(images_BCHW), generator, mean=time_mean, deviation=time_deviation)
    noise_BCHW = torch.randn(images_BCHW.shape, generator=generator, device=generator.device)
    if conditions is not None:
        conditions = drop_conditions(conditions, drop, generator)
    noisy_BCHW = add_noise(images_BCHW, noise_BCHW, times_B)
    predicted_BCHW = model(noisy_BCHW, times_B, conditions).float()
    remaining_B = (1 - times_B).clamp_min(LEAST_REMAINING_TIME)
    return ((predicted_BCHW - images_BCHW) / _over_pictures(remaining_B)).square().mean()


def draw_times(num_times: int, generator: torch.Generator, *, mean: float, deviation: float) -> Tensor:
    """sigmoid(N(mean, deviation)), one from each equal slice of the distribution, in random order.

    Slices make the mean over a batch far steadier than independent draws.
    """
    device = generator.device
    order_B = torch.randperm(num_times, generator=generator, device=device)
    within_B = torch.rand(num_times, generator=generator, device=device, dtype=torch.float64)
    return times_at((order_B + within_B) / num_times, mean=mean, deviation=deviation)


def times_at(quantiles: Tensor, *, mean: float = TIME_MEAN, deviation: float = TIME_DEVIATION) -> Tensor:
    """The times below which these shares of all times lie, float32."""
    normal = torch.special.ndtri(quantiles.clamp(1e-9, 1 - 1e-9))
    return torch.sigmoid(mean + deviation * normal).float()


def drop_conditions(conditions: Conditions, share: float, generator: torch.Generator) -> Conditions:
    """Leave out about `share` of the conditions."""
    drop_B = torch.rand(len(conditions), generator=generator, device=generator.device) < share
    return conditions.dropped(drop_B)


def add_noise(images_BCHW: Tensor, noise_BCHW: Tensor, times_B: Tensor) -> Tensor:
    """t·x + (1 − t)·ε."""
    return torch.lerp(noise_BCHW, images_BCHW, _over_pictures(times_B))


def velocity(predicted_BCHW: Tensor, noisy_BCHW: Tensor, time: float) -> Tensor:
    """(x̂ − z) / (1 − t), for a time before 1."""
    return (predicted_BCHW - noisy_BCHW) / (1 - time)


def _over_pictures(values_B: Tensor) -> Tensor:
    return values_B[:, None, None, None]
