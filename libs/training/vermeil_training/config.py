"""What a run is, apart from its model and its data: three small frozen records, checked when made.

Field names are those of a recipe. What depends on the number of steps (warm-up, how often to look)
may be left open and is settled by `RunConfig` and `ScheduleConfig` themselves.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from vermeil_errors import InvalidInput

from vermeil_training.precision import Precision

OptimizerKind = Literal["muon", "adamw"]
ScheduleKind = Literal["wsd", "cosine", "constant"]


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move."""

    kind: OptimizerKind = "muon"
    """muon: hidden matrices by Muon, the rest by AdamW; adamw: everything by AdamW."""
    learning_rate: float = 0.003
    """Peak learning rate of AdamW."""
    matrix_learning_rate: float = 0.02
    """Peak learning rate of Muon."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices, 0 to 1; vectors and gates never decay."""
    beta1: float = 0.9
    """First moment of AdamW, 0 to 1."""
    beta2: float = 0.95
    """Second moment of AdamW, 0 to 1."""
    gradient_clip: float = 1.0
    """Largest norm of the whole gradient; 0 turns clipping off."""
    rates: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Learning rates of parts of the model over the peaks, by how their weights' names begin; 0 freezes."""

    def __post_init__(self) -> None:
        _one_of("optimizer.kind", self.kind, get_args(OptimizerKind))
        _between("optimizer.learning_rate", self.learning_rate, 0, math.inf, open_low=True)
        _between("optimizer.matrix_learning_rate", self.matrix_learning_rate, 0, math.inf, open_low=True)
        _between("optimizer.weight_decay", self.weight_decay, 0, 1)
        _between("optimizer.beta1", self.beta1, 0, 1, open_high=True)
        _between("optimizer.beta2", self.beta2, 0, 1, open_high=True)
        _between("optimizer.gradient_clip", self.gradient_clip, 0, math.inf)
        for prefix, rate in self.rates.items():
            _between(f"optimizer.rates[{prefix!r}]", rate, 0, math.inf)


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rates go, as a factor on their peaks."""

    kind: ScheduleKind = "wsd"
    """wsd: warm-up, stable, linear decay; cosine: warm-up, half a cosine; constant: warm-up, then flat."""
    warmup_steps: int | None = None
    """Steps of linear warm-up; none means 2 % of all steps."""
    decay_fraction: float = 0.4
    """Part of all steps that decays, 0 to 1, for wsd."""
    final_fraction: float = 0.0
    """Learning rate at the end over the peak, 0 to 1."""

    def __post_init__(self) -> None:
        _one_of("schedule.kind", self.kind, get_args(ScheduleKind))
        if self.warmup_steps is not None:
            _whole("schedule.warmup_steps", self.warmup_steps, 0)
        _between("schedule.decay_fraction", self.decay_fraction, 0, 1)
        _between("schedule.final_fraction", self.final_fraction, 0, 1)


@dataclass(frozen=True)
class RunConfig:
    """How long and how the run goes. Intervals left open become a tenth of all steps."""

    steps: int = 1000
    """Optimizer steps."""
    accumulation: int = 1
    """Micro-batches summed up before a step."""
    seed: int = 0
    """Seed of whatever the objective draws; weights and data order are seeded by whoever makes them."""
    precision: Precision = "auto"
    """bf16: autocast, weights stay in float32; fp32: everything in float32; auto: bf16 where it is fast."""
    compile: bool = False
    """Whether torch.compile is used: costs a start of minutes, needs a C++ compiler on CPU."""
    ema_decay: float = 0.0
    """Decay of the moving average of weights, 0 to 1; 0 keeps none."""
    evaluate_every: int | None = None
    """Steps between validations."""
    evaluate_batches: int = 20
    """Validation batches each time."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between lines of the log."""
    activation_checkpointing: bool = False
    """Whether activations are computed again in the backward pass: less memory, a third more work."""

    def __post_init__(self) -> None:
        _one_of("run.precision", self.precision, get_args(Precision))
        for name in ("steps", "accumulation", "evaluate_batches", "log_every"):
            _whole(f"run.{name}", getattr(self, name), 1)
        for name in ("evaluate_every", "checkpoint_every"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, max(1, self.steps // 10))
            _whole(f"run.{name}", getattr(self, name), 1)
        _between("run.ema_decay", self.ema_decay, 0, 1, open_high=True)


@dataclass(frozen=True)
class TrainingConfig:
    """One run of the loop."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig = field(default_factory=RunConfig)
    given: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What else shapes the weights and is the caller's, by its name, as plain values of JSON: a run is not
    gone on with where one of them differs."""

    def __post_init__(self) -> None:
        warmup, steps = self.schedule.warmup_steps, self.run.steps
        if warmup is not None and warmup > steps:
            raise InvalidInput.for_field(
                "schedule.warmup_steps",
                warmup,
                f"is more than run.steps ({steps})",
                "warm up for fewer steps",
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain values for JSON."""
        return asdict(self)


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput.for_field(name, value, "is not a choice", f"choose {' or '.join(choices)}")


def _whole(name: str, value: object, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise InvalidInput.for_field(
            name, value, f"is not a whole number of at least {low}", f"give {low} or more"
        )


def _between(
    name: str, value: object, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    inside = number and low <= value <= high  # type: ignore[operator]
    if not inside or (open_low and value == low) or (open_high and value == high):
        words = f"above {low:g}" if open_low else f"at least {low:g}"
        if high != math.inf:
            words += f" and {'below' if open_high else 'at most'} {high:g}"
        raise InvalidInput.for_field(name, value, "is out of range", f"give a number {words}")
