"""Pictures on their way from noise, each at a step of its own, moved on together.

Whoever draws puts a picture on the easel and moves the easel until it is done; that moves the pictures of
others too, a bounded number at a time and all in turn. A picture comes out as it would by itself. Unusual:
several threads may draw, one at a time and in the order they come.

Letters: B pictures, C channels, H height, W width.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vermeil_model.context import Context, joined
from vermeil_model.image_sampling import (
    GUIDANCE_FROM,
    Denoiser,
    Look,
    Looks,
    SamplingStep,
    Solver,
    after,
    check_settings,
    draw_noise,
    follow,
)

PATCHES_AT_ONCE = 512
"""On a CPU, with and without their condition counted apart: more are no quicker, and text waits for them."""
PICTURES_AT_ONCE = 32
"""Elsewhere."""


@dataclass(frozen=True)
class DrawingParameters:
    """How pictures are drawn."""

    steps: int = 50
    """Of the solver; at least 1."""
    guidance: float = 2.0
    """1 takes the text as it is, more exaggerates it."""
    guidance_from: float = GUIDANCE_FROM
    """Time from which on guidance works."""
    solver: Solver = "euler"
    """euler or heun."""

    def __post_init__(self) -> None:
        check_settings(steps=self.steps, guidance=self.guidance, solver=self.solver)


@dataclass(eq=False)
class Drawing:
    """A picture on its way."""

    parameters: DrawingParameters
    seed: int
    steps: deque[SamplingStep] = field(default_factory=deque)
    """Those that have been made and not been taken from here; what the last predicts is the picture."""
    error: Exception | None = None
    """Why it will never be done."""
    _context: Context | None = field(default=None, repr=False)
    _looks: Looks | None = field(default=None, repr=False)
    _look: Look | None = field(default=None, repr=False)

    @property
    def is_done(self) -> bool:
        """Whether the last step has been made."""
        return self._look is None


class Turns:
    """Lets threads in one at a time, in the order they come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_come = self._num_gone = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and have it while the block lasts."""
        with self._changed:
            number = self._num_come
            self._num_come += 1
            self._changed.wait_for(lambda: self._num_gone == number)
        try:
            yield
        finally:
            with self._changed:
                self._num_gone += 1
                self._changed.notify_all()


class Easel:
    """Room for any number of pictures; threads use it, and the model behind it, by `turns`.

    Args:
        painter: The frozen form of what draws.
        device: Where it is.
    """

    def __init__(self, painter: Denoiser, device: torch.device) -> None:
        self.turns = Turns()
        self.num_moves = 0
        """How often it has been moved."""
        self._painter, self._device = painter, device
        self._most = PICTURES_AT_ONCE
        if device.type == "cpu":
            self._most = max(1, PATCHES_AT_ONCE // (2 * painter.config.num_patches))
        self._sheets: deque[_Sheet] = deque()

    def add(self, context: Context | None, seed: int, parameters: DrawingParameters) -> Drawing:
        """Put a picture on the easel, under a context of one row or none."""
        drawing = Drawing(parameters, seed)
        drawing._context = None if parameters.guidance == 0 else context
        noise_1CHW = draw_noise(self._painter.config, [seed]).to(self._device)
        drawing._looks = follow(noise_1CHW, steps=parameters.steps, solver=parameters.solver)
        drawing._look = next(drawing._looks)
        sheet = next((sheet for sheet in self._sheets if len(sheet.drawings) < self._most), None)
        if sheet is None:
            sheet = _Sheet()
            self._sheets.append(sheet)
        sheet.drawings.append(drawing)
        return drawing

    def remove(self, drawing: Drawing) -> None:
        """Stop a picture; one that is done or stopped may be named again."""
        for sheet in self._sheets:
            if drawing in sheet.drawings:
                sheet.drawings.remove(drawing)
        self._tidy()

    @torch.inference_mode()
    def move(self) -> None:
        """One look at some of the pictures; in turn all of them get theirs."""
        self.num_moves += 1
        if not self._sheets:
            return
        sheet = self._sheets[0]
        self._sheets.rotate(-1)
        try:
            sheet.move(self._painter, self._device)
        except Exception as error:  # of all who draw on it: each is told when it looks
            for drawing in sheet.drawings:
                drawing.error = error
            sheet.drawings.clear()
        self._tidy()

    def _tidy(self) -> None:
        self._sheets = deque(sheet for sheet in self._sheets if sheet.drawings)


class _Sheet:
    """Pictures that are looked at together."""

    def __init__(self) -> None:
        self.drawings: list[Drawing] = []
        self._company: tuple[list[Drawing], list[Drawing]] = ([], [])
        self._context: Context | None = None

    def move(self, painter: Denoiser, device: torch.device) -> None:
        looks = [(drawing, drawing._look) for drawing in self.drawings]
        wanted = [(drawing, look) for drawing, look in looks if look is not None]
        guided = [(drawing, look) for drawing, look in wanted if _is_guided(drawing, look)]
        rows = [*wanted, *guided]
        noisy_BCHW = torch.cat([look.noisy_BCHW for _, look in rows])
        times_B = torch.tensor([look.time for _, look in rows], device=device)
        context = self._joined([drawing for drawing, _ in wanted], [drawing for drawing, _ in guided])
        predicted = torch.split(painter(noisy_BCHW, times_B, context=context).float(), 1)
        without = iter(predicted[len(wanted) :])
        for (drawing, look), with_1CHW in zip(wanted, predicted, strict=False):
            found_1CHW = with_1CHW
            if _is_guided(drawing, look):
                found_1CHW = torch.lerp(next(without), with_1CHW, drawing.parameters.guidance)
            _take(drawing, look, found_1CHW)
        self.drawings = [drawing for drawing in self.drawings if not drawing.is_done]

    def _joined(self, wanted: list[Drawing], guided: list[Drawing]) -> Context | None:
        """Their contexts, then nothing for those that are guided; made anew when these change."""
        if self._company != (wanted, guided):
            self._company = (wanted, guided)
            self._context = joined([drawing._context for drawing in wanted], len(guided))
        return self._context


def _is_guided(drawing: Drawing, look: Look) -> bool:
    parameters = drawing.parameters
    listens = drawing._context is not None and parameters.guidance != 1
    return listens and look.time >= parameters.guidance_from


def _take(drawing: Drawing, look: Look, predicted_1CHW: Tensor) -> None:
    assert drawing._looks is not None
    if look.ends_step:
        drawing.steps.append(SamplingStep(look.number, drawing.parameters.steps, predicted_1CHW.clone()))
    drawing._look = after(drawing._looks, predicted_1CHW)
    if drawing._look is None:
        drawing._context = None
