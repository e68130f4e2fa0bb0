"""A network that draws, as a painter uses it: wishes in, pixels out, step by step.

Pictures that nobody waits for any more leave the batch before the next look at them; the others come
out the same. Letters: B pictures, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from vermeil_media import Pixels
from vermeil_model import Conditions, ImageModel, PackedImageModel, to_pixels
from vermeil_model.image_sampling import Predict, SamplingStep, draw_noise, guided, integrate

from vermeil_generator.image_order import Style, Wish


class NobodyWaitsError(Exception):
    """Every picture of the batch was given up."""


class Step(NamedTuple):
    """What is known after one step."""

    number: int
    """1 … steps."""
    look: Callable[[int], Pixels]
    """How the picture at a place of the batch is expected to become."""


OnStep = Callable[[Step], None]


class Drawing(Protocol):
    """What a painter needs: `Sampler`."""

    def draw(
        self, wishes: Sequence[Wish], style: Style, *, is_wanted: Callable[[int], bool], on_step: OnStep
    ) -> Sequence[Pixels]:
        """The pixels of every wish that is still wanted, something else for the others.

        `is_wanted` is asked for every place before each look at the pictures.

        Raises:
            NobodyWaitsError: None is wanted.
        """


class Sampler:
    """Draws with the packed form of an image model."""

    def __init__(self, model: ImageModel) -> None:
        self._model = PackedImageModel(model)

    @torch.inference_mode()
    def draw(
        self, wishes: Sequence[Wish], style: Style, *, is_wanted: Callable[[int], bool], on_step: OnStep
    ) -> Sequence[Pixels]:
        """The pixels of every wish that is still wanted."""
        device = self._model.device
        noise_BCHW = draw_noise(self._model.config, [wish.seed for wish in wishes]).to(device)

        def tell(step: SamplingStep) -> None:
            on_step(Step(step.number, lambda place: _pixels(step.predicted_BCHW[place : place + 1])[0]))

        drawn_BCHW = integrate(
            self._of_wanted(wishes, style, is_wanted),
            noise_BCHW,
            steps=style.steps,
            solver=style.solver,  # type: ignore[arg-type]  # the ask allows no other words
            on_step=tell,
        )
        return _pixels(drawn_BCHW)

    def _of_wanted(self, wishes: Sequence[Wish], style: Style, is_wanted: Callable[[int], bool]) -> Predict:
        places: list[int] = []
        predict: Predict | None = None

        def predicted(noisy_BCHW: Tensor, time: float) -> Tensor:
            nonlocal places, predict
            wanted = [place for place in range(len(wishes)) if is_wanted(place)]
            if not wanted:
                raise NobodyWaitsError
            if predict is None or wanted != places:
                places = wanted
                predict = guided(self._model, self._conditions(wishes, places, style), style.guidance)
            if len(places) == len(wishes):
                return predict(noisy_BCHW, time)
            rows = torch.tensor(places, device=noisy_BCHW.device)
            predicted_BCHW = torch.zeros_like(noisy_BCHW)
            predicted_BCHW[rows] = predict(noisy_BCHW[rows], time)
            return predicted_BCHW

        return predicted

    def _conditions(self, wishes: Sequence[Wish], places: Sequence[int], style: Style) -> Conditions | None:
        asked: list[Any] = [wishes[place].condition for place in places]
        kind = self._model.config.condition
        if kind == "none" or style.guidance == 0 or all(each is None for each in asked):
            return None
        if kind == "class":
            conditions = Conditions.of_classes(asked)
        else:
            conditions = Conditions.of_captions([each or () for each in asked])
        return conditions.to(self._model.device)


def _pixels(images_BCHW: Tensor) -> list[Pixels]:
    return list(to_pixels(images_BCHW).cpu().numpy())
