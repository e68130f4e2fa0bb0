"""The learning rate's way through a run, as a factor between 0 and 1 on its peak."""

import math

from vermeil_training.config import ScheduleConfig


def learning_rate_factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """The factor for the step that follows `step` finished ones, 0 ≤ step < steps."""
    warmup = warmup_steps(config, steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.kind == "constant":
        return 1.0
    if config.kind == "cosine":
        passed = (step - warmup) / max(1, steps - warmup)
        return config.final_fraction + (1 - config.final_fraction) * 0.5 * (1 + math.cos(math.pi * passed))
    left = (steps - step) / max(1.0, config.decay_fraction * steps)
    return config.final_fraction + (1 - config.final_fraction) * min(1.0, left)


def warmup_steps(config: ScheduleConfig, steps: int) -> int:
    """Steps of linear warm-up: as configured, or 2 % of all steps."""
    return config.warmup_steps if config.warmup_steps is not None else round(0.02 * steps)
