"""Pictures from noise: Euler and Heun along the flow, with classifier-free guidance.

Conditions are read once for all steps; with guidance the pictures with and without their condition go
through the network as one batch. The noise of a picture follows from its seed alone, so it comes out the
same whatever else is drawn beside it.

Letters: B pictures, C channels, H height, W width.
"""
# ruff: noqa: N815

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.conditions import Conditions, check_conditions
from vermeil_model.context import Context
from vermeil_model.flow import velocity
from vermeil_model.image_config import ImageConfig
from vermeil_model.image_model import ImageModel
from vermeil_model.packed_image import PackedImageModel

Solver = Literal["euler", "heun"]
Predict = Callable[[Tensor, float], Tensor]
"""Noisy pictures and their time → the clean ones expected behind them."""


class SamplingStep(NamedTuple):
    """What is known after one step."""

    number: int
    """1 … num_steps."""
    num_steps: int
    predicted_BCHW: Tensor
    """The pictures expected in the end, −1 … 1."""


GUIDANCE_FROM = 0.3
"""Time from which on guidance works, unless told otherwise. Earlier it only drives pictures to extremes
(arXiv 2404.07724): a small model of Fashion-MNIST had a Fréchet distance of 0.61 so, of 1.01 from 0 on."""

OnStep = Callable[[SamplingStep], None]


class Denoiser(Protocol):
    """What sampling needs of a network once its context is read."""

    config: ImageConfig

    def __call__(self, noisy_BCHW: Tensor, times_B: Tensor, *, context: Context | None = None) -> Tensor:
        """The clean pictures expected behind noisy ones."""


class Reader(Denoiser, Protocol):
    """One that reads conditions too."""

    def read(self, conditions: Conditions) -> Context:
        """Keys and values of conditions."""


@torch.inference_mode()
def sample_images(
    model: ImageModel | PackedImageModel,
    conditions: Conditions | None = None,
    *,
    seeds: Sequence[int],
    steps: int = 50,
    guidance: float = 1.0,
    guidance_from: float = GUIDANCE_FROM,
    solver: Solver = "euler",
    on_step: OnStep | None = None,
) -> Tensor:
    """One picture a seed, float32 (B, C, H, W), about −1 … 1.

    guidance 1 takes the condition as it is, more exaggerates it from the time `guidance_from` on, 0
    ignores it. `on_step` is called after every step; what it raises ends the sampling. A model that
    serves many calls is best packed once.
    """
    check_request(model.config, conditions, seeds=seeds, steps=steps, guidance=guidance, solver=solver)
    packed = PackedImageModel(model) if isinstance(model, ImageModel) else model
    noise_BCHW = draw_noise(model.config, seeds).to(packed.device)
    if not seeds:
        return noise_BCHW
    wanted = None if conditions is None or guidance == 0 else conditions.to(packed.device)
    predict = guided(packed, wanted, guidance, start=guidance_from)
    return integrate(predict, noise_BCHW, steps=steps, solver=solver, on_step=on_step)


@torch.inference_mode()
def sample_in_context(
    painter: Denoiser,
    context: Context,
    *,
    seeds: Sequence[int],
    steps: int = 50,
    guidance: float = 1.0,
    guidance_from: float = GUIDANCE_FROM,
    solver: Solver = "euler",
    on_step: OnStep | None = None,
) -> Tensor:
    """The same for what has already been read: one picture a seed, and a seed for every row of it."""
    sampling = steps_in_context(
        painter,
        context,
        seeds=seeds,
        steps=steps,
        guidance=guidance,
        guidance_from=guidance_from,
        solver=solver,
    )
    return _last_of(sampling, on_step)


@torch.inference_mode()
def steps_in_context(
    painter: Denoiser,
    context: Context,
    *,
    seeds: Sequence[int],
    steps: int = 50,
    guidance: float = 1.0,
    guidance_from: float = GUIDANCE_FROM,
    solver: Solver = "euler",
) -> Iterator[SamplingStep]:
    """`sample_in_context` step by step, for who has other things to do meanwhile.

    What the last step predicts are the pictures.
    """
    check_settings(steps=steps, guidance=guidance, solver=solver)
    num_rows = len(context.keys[0])
    if len(seeds) != num_rows:
        raise InvalidInput.for_field("seeds", len(seeds), f"do not match {num_rows} rows", "Give one a row.")
    noise_BCHW = draw_noise(painter.config, seeds).to(context.keys[0].device)
    predict = guided_by(painter, None if guidance == 0 else context, guidance, start=guidance_from)
    yield from _steps(predict, noise_BCHW, steps=steps, solver=solver)


def check_request(
    config: ImageConfig,
    conditions: Conditions | None,
    *,
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    solver: str,
) -> None:
    """Refuse what cannot be sampled, by name."""
    check_settings(steps=steps, guidance=guidance, solver=solver)
    if guidance not in (0.0, 1.0) and conditions is None:
        raise InvalidInput.for_field(
            "guidance", guidance, "has nothing to be guided by", "Give conditions, or use 1."
        )
    check_conditions(conditions, config, len(seeds))


def check_settings(*, steps: int, guidance: float, solver: str) -> None:
    """Refuse ways of sampling that do not exist."""
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise InvalidInput.for_field("steps", steps, "is not a positive whole number", "25 to 50 are usual.")
    if not math.isfinite(guidance) or guidance < 0:
        raise InvalidInput.for_field("guidance", guidance, "is not a number of at least 0", "1 is off.")
    if solver not in get_args(Solver):
        raise InvalidInput.for_field(
            "solver", solver, "is not known", f"Use one of {', '.join(get_args(Solver))}."
        )


def draw_noise(config: ImageConfig, seeds: Sequence[int]) -> Tensor:
    """The noise each seed starts from, float32 (B, C, H, W), the same on every device."""
    shape = (config.channels, config.image_height, config.image_width)
    if not seeds:
        return torch.empty(0, *shape)
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(_checked(seed))) for seed in seeds]
    return torch.stack(drawn)


def guided(
    model: Reader, conditions: Conditions | None, guidance: float, *, start: float = GUIDANCE_FROM
) -> Predict:
    """`guided_by` what these conditions read as."""
    return guided_by(model, None if conditions is None else model.read(conditions), guidance, start=start)


def guided_by(
    model: Denoiser, context: Context | None, guidance: float, *, start: float = GUIDANCE_FROM
) -> Predict:
    """The network's prediction as a function of picture and time: x̂₀ + guidance · (x̂ − x̂₀).

    Before the time `start` it is x̂, at half the cost.
    """
    context = None if context is None else _simplified(context)
    if context is None or guidance == 1:
        return lambda noisy_BCHW, time: _predict(model, noisy_BCHW, time, context)
    absent_B = torch.arange(2 * len(context.keys[0]), device=context.keys[0].device) >= len(context.keys[0])
    both = context.rows(torch.arange(len(context.keys[0]), device=absent_B.device).repeat(2))
    both = both.hidden_where(absent_B)

    def predict(noisy_BCHW: Tensor, time: float) -> Tensor:
        if time < start:
            return _predict(model, noisy_BCHW, time, context)
        twice = torch.cat((noisy_BCHW, noisy_BCHW))
        with_BCHW, without_BCHW = _predict(model, twice, time, both).chunk(2)
        return torch.lerp(without_BCHW, with_BCHW, guidance)

    return predict


def integrate(
    predict: Predict, noise_BCHW: Tensor, *, steps: int, solver: Solver, on_step: OnStep | None = None
) -> Tensor:
    """Follow the flow from noise at time 0 to pictures at time 1 in equal steps.

    The last step goes straight to the prediction, where Heun's second look would divide by zero.
    """
    return _last_of(_steps(predict, noise_BCHW, steps=steps, solver=solver), on_step)


def _steps(predict: Predict, noise_BCHW: Tensor, *, steps: int, solver: Solver) -> Iterator[SamplingStep]:
    looks = follow(noise_BCHW, steps=steps, solver=solver)
    look: Look | None = next(looks)
    while look is not None:
        predicted_BCHW = predict(look.noisy_BCHW, look.time)
        if look.ends_step:
            yield SamplingStep(look.number, steps, predicted_BCHW)
        look = after(looks, predicted_BCHW)


class Look(NamedTuple):
    """What the network is asked next on the way from noise to pictures."""

    noisy_BCHW: Tensor
    time: float
    number: int
    """Of the step, 1 … num_steps."""
    ends_step: bool
    """Whether what it predicts is what is known after the step."""


Looks = Generator[Look, Tensor, None]


def follow(noise_BCHW: Tensor, *, steps: int, solver: Solver) -> Looks:
    """All looks at pictures on their way; is sent what each predicts."""
    x_BCHW = noise_BCHW
    for step in range(steps):
        start, end = step / steps, (step + 1) / steps
        last = step == steps - 1
        predicted_BCHW = yield Look(x_BCHW, start, step + 1, last or solver == "euler")
        if last:
            return
        slope_BCHW = velocity(predicted_BCHW, x_BCHW, start)
        moved_BCHW = x_BCHW + slope_BCHW * (end - start)
        if solver == "heun":
            predicted_BCHW = yield Look(moved_BCHW, end, step + 1, ends_step=True)
            second_BCHW = velocity(predicted_BCHW, moved_BCHW, end)
            moved_BCHW = x_BCHW + (slope_BCHW + second_BCHW) * ((end - start) / 2)
        x_BCHW = moved_BCHW


def after(looks: Looks, predicted_BCHW: Tensor) -> Look | None:
    """The look that follows a prediction, or none at the end."""
    try:
        return looks.send(predicted_BCHW)
    except StopIteration:
        return None


def _last_of(sampling: Iterator[SamplingStep], on_step: OnStep | None) -> Tensor:
    """The pictures of the last step; there is at least one."""
    for step in sampling:
        if on_step is not None:
            on_step(step)
    return step.predicted_BCHW


def _predict(model: Denoiser, noisy_BCHW: Tensor, time: float, context: Context | None) -> Tensor:
    times_B = torch.full((len(noisy_BCHW),), time, device=noisy_BCHW.device)
    return model(noisy_BCHW, times_B, context=context).float()


def _simplified(context: Context) -> Context:
    """Without a mask where it hides nothing."""
    if context.visible_BL is None or not bool(context.visible_BL.all()):
        return context
    return context._replace(visible_BL=None)


def _checked(seed: int) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise InvalidInput.for_field("seeds", seed, "is not a whole number of 0 to 2⁶³ − 1", "Use another.")
    return seed
