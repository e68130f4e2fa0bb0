"""What given pictures cost a network that draws, one number each, at fixed times and noise.

So two of these numbers differ by what was asked for alone: the loss under a wrong prompt minus that under
the right one tells how much a generator listens. Knows neither prompts nor fused models.

Letters: B pictures, C channels, H height, W width, K times.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.context import Context
from vermeil_model.flow import LEAST_REMAINING_TIME, add_noise, times_at
from vermeil_model.image_sampling import Denoiser, draw_noise
from vermeil_model.patches import check_pictures

NUM_TIMES = 8
"""Times at which a picture is looked at."""


@torch.inference_mode()
def picture_losses(
    denoiser: Denoiser,
    context: Context | None,
    images_BCHW: Tensor,
    *,
    seeds: Sequence[int],
    num_times: int = NUM_TIMES,
) -> Tensor:
    """Mean squared error of the velocity of each picture of −1 … 1, float32 (B).

    The mean is over `num_times` times, the middles of as many equal slices of what is drawn in training.
    A picture's noise, the same at all times, follows from its seed.
    """
    check_pictures(images_BCHW, denoiser.config, "a model")
    if num_times < 1:
        raise InvalidInput.for_field("num_times", num_times, "is less than 1", f"{NUM_TIMES} are usual.")
    if len(seeds) != len(images_BCHW):
        raise InvalidInput.for_field(
            "seeds", len(seeds), f"do not match {len(images_BCHW)} pictures", "Give one a picture."
        )
    images_BCHW = images_BCHW.float()
    noise_BCHW = draw_noise(denoiser.config, seeds).to(images_BCHW.device)
    total_B = images_BCHW.new_zeros(len(images_BCHW))
    for time in fixed_times(num_times).tolist():
        times_B = images_BCHW.new_full((len(images_BCHW),), time)
        noisy_BCHW = add_noise(images_BCHW, noise_BCHW, times_B)
        predicted_BCHW = denoiser(noisy_BCHW, times_B, context=context).float()
        error_BCHW = (predicted_BCHW - images_BCHW) / max(1 - time, LEAST_REMAINING_TIME)
        total_B += error_BCHW.square().mean((1, 2, 3))
    return total_B / num_times


def fixed_times(num_times: int) -> Tensor:
    """The middles of equal slices of the times of training, (K)."""
    return times_at((torch.arange(num_times, dtype=torch.float64) + 0.5) / num_times)
