"""The training loop as functions over a small state: one library for every run of any model."""

from vermeil_training.adamw import AdamW, Optimizer
from vermeil_training.batches import Batches, TrainingBatch
from vermeil_training.checkpoint import restore_state, save_state
from vermeil_training.config import OptimizerConfig, RunConfig, ScheduleConfig, TrainingConfig
from vermeil_training.fit import CHECKPOINTS, TrainResult, fit
from vermeil_training.muon import Muon
from vermeil_training.objectives import (
    Losses,
    Objective,
    ReadAndDraw,
    SeveralMeans,
    Work,
    classify,
    conditions_of,
    contrastive,
    image_flow_loss,
    next_token_loss,
)
from vermeil_training.pace import Progress
from vermeil_training.run_log import METRICS, PLOT, read_metrics
from vermeil_training.state import TrainState, make_state
from vermeil_training.step import Validation, evaluate_loss, train_step
from vermeil_training.world import World, best_device, join_world

__all__ = [
    "CHECKPOINTS",
    "METRICS",
    "PLOT",
    "AdamW",
    "Batches",
    "Losses",
    "Muon",
    "Objective",
    "Optimizer",
    "OptimizerConfig",
    "Progress",
    "ReadAndDraw",
    "RunConfig",
    "ScheduleConfig",
    "SeveralMeans",
    "TrainResult",
    "TrainState",
    "TrainingBatch",
    "TrainingConfig",
    "Validation",
    "Work",
    "World",
    "best_device",
    "classify",
    "conditions_of",
    "contrastive",
    "evaluate_loss",
    "fit",
    "image_flow_loss",
    "join_world",
    "make_state",
    "next_token_loss",
    "read_metrics",
    "restore_state",
    "save_state",
    "train_step",
]
