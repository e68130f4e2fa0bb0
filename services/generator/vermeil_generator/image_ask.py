"""What a caller asks a model of images for, checked as far as that goes without a model."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from vermeil_errors import InvalidInput

MAX_STEPS = 1000
MAX_GUIDANCE = 30.0
MAX_IMAGES = 64
MAX_PREVIEWS = 8
MAX_SEED = 2**63 - 1

Solver = Literal["euler", "heun"]


@dataclass(frozen=True)
class ImageSampling:
    """How pictures are drawn from noise."""

    steps: int | None = None
    """From noise to picture; None takes what suits the model."""
    guidance: float | None = None
    """1 takes the prompt as it is, 0 ignores it; None takes what suits the model."""
    solver: str = "euler"
    """euler or heun."""
    seed: int | None = None
    """Picture i is drawn from seed + i; None draws one."""

    def __post_init__(self) -> None:
        if self.steps is not None:
            _check("sampling.steps", self.steps, 1 <= self.steps <= MAX_STEPS, f"1 to {MAX_STEPS}")
        if self.guidance is not None:
            holds = math.isfinite(self.guidance) and 0 <= self.guidance <= MAX_GUIDANCE
            _check("sampling.guidance", self.guidance, holds, f"0 to {MAX_GUIDANCE:g}")
        solvers = get_args(Solver)
        if self.solver not in solvers:
            raise InvalidInput.for_field(
                "sampling.solver", self.solver, "is unknown", f"send {' or '.join(solvers)}"
            )
        if self.seed is not None:
            _check("sampling.seed", self.seed, 0 <= self.seed <= MAX_SEED, "0 to 2^63 - 1")


@dataclass(frozen=True)
class ImageAsk:
    """One request for pictures."""

    model: str
    """A resource name, with or without a version."""
    prompt: str = ""
    """A text or the name of a class; empty lets the model choose."""
    class_number: int | None = None
    """A class by its number instead."""
    num_images: int = 1
    """Pictures wanted."""
    sampling: ImageSampling = field(default_factory=ImageSampling)
    """How they are drawn."""
    width: int = 0
    """Pixels; 0 for the model's."""
    height: int = 0
    """Pixels; 0 for the model's."""
    num_previews: int = 0
    """Of each picture on its way."""
    as_artifacts: bool = False
    """Whether all pictures come by reference."""

    def __post_init__(self) -> None:
        _check("num_images", self.num_images, 1 <= self.num_images <= MAX_IMAGES, f"1 to {MAX_IMAGES}")
        most = MAX_PREVIEWS
        _check("num_previews", self.num_previews, 0 <= self.num_previews <= most, f"0 to {most}")


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InvalidInput.for_field(name, value, "is out of range", f"send {expected}")
