"""The small run of the tests in a process of its own, slowed so that there is time to kill it."""

import sys
import time
from pathlib import Path

import torch
from vermeil_data import open_encoded
from vermeil_training import OptimizerConfig, RunConfig, ScheduleConfig, TrainingConfig, fit, next_token_loss
from vermeil_training.testing import SmallRun


def noisy(model, batch, generator):
    time.sleep(0.03)
    return next_token_loss(model, batch, generator) * (1 + torch.rand((), generator=generator))


torch.set_num_threads(1)  # as in the tests: how a sum is divided among threads shows in its last bit
small = SmallRun(open_encoded(Path(sys.argv[1])))
config = TrainingConfig(
    OptimizerConfig(),
    ScheduleConfig(warmup_steps=2),
    RunConfig(
        steps=12,
        accumulation=2,
        ema_decay=0.9,
        evaluate_every=5,
        evaluate_batches=2,
        checkpoint_every=4,
        log_every=3,
    ),
)
print("ready", flush=True)  # noqa: T201
fit(config, small.model(), small.loader(), small.validation(), Path(sys.argv[2]), objective=noisy)
