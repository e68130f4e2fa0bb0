"""A few steps of the small run as one of torchrun's processes; rank 0 prints its losses as JSON."""

import json
import sys
from pathlib import Path

import torch
from vermeil_data import open_encoded
from vermeil_training import OptimizerConfig, RunConfig, TrainingConfig, fit, join_world, read_metrics
from vermeil_training.testing import SmallRun

torch.set_num_threads(1)
small, folder, batch_size = SmallRun(open_encoded(Path(sys.argv[1]))), Path(sys.argv[2]), int(sys.argv[3])
config = TrainingConfig(
    OptimizerConfig("adamw"),
    run=RunConfig(
        steps=6, accumulation=2, precision="fp32", log_every=1, evaluate_every=3, checkpoint_every=3
    ),
)


def stops_after_five_calls() -> bool:
    stops_after_five_calls.calls += 1
    return stops_after_five_calls.calls > 5 and world.leads


with join_world() as world:
    position = (world.rank, world.size)
    for should_stop in (stops_after_five_calls, lambda: False):
        # One process asks to stop in the middle of a step; all of them stop there, and go on.
        stops_after_five_calls.calls = 0
        model = small.model()
        result = fit(
            config,
            model,
            small.loader(batch_size, *position),
            small.validation(*position),
            folder,
            world=world,
            should_stop=should_stop,
        )
if position[0] == 0:
    lines = read_metrics(folder)
    print(  # noqa: T201
        json.dumps(
            {
                "losses": [line["loss"] for line in lines if "loss" in line],
                "validation": [line["validation_loss"] for line in lines if "validation_loss" in line],
                "tokens": result.items,
            }
        )
    )
