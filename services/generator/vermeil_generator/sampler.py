"""A network that draws, as a painter uses it: wishes in, pixels out, step by step.

Pictures that nobody waits for any more leave the batch before the next look at them; the others come
out the same. Letters: B pictures, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor
from vermeil_media import Pixels
from vermeil_model import Conditions, ImageModel, PackedImageModel, to_pixels
from vermeil_model.context import Context
from vermeil_model.image_sampling import (
    Denoiser,
    Predict,
    SamplingStep,
    draw_noise,
    guided_by,
    integrate,
)

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
    """What a painter needs: `Sampler`, or `SharedSampler`."""

    def draw(
        self, wishes: Sequence[Wish], style: Style, *, is_wanted: Callable[[int], bool], on_step: OnStep
    ) -> Sequence[Pixels]:
        """The pixels of every wish that is still wanted, something else for the others.

        `is_wanted` is asked for every place before each look at the pictures.

        Raises:
            NobodyWaitsError: None is wanted.
        """


Read = Callable[[Sequence[Any]], Context | None]
"""What is asked for, one a picture, as the network reads it; None where all ask for nothing."""


class Sampler:
    """Draws with a network.

    Args:
        denoiser: Predicts pictures.
        device: Where it is.
        read: Reads what they shall show.
    """

    def __init__(self, denoiser: Denoiser, device: torch.device, read: Read) -> None:
        self._denoiser, self._device, self._read = denoiser, device, read

    @classmethod
    def of_images(cls, model: ImageModel) -> Self:
        """With the packed form of an image model."""
        packed = PackedImageModel(model)

        def read(asked: Sequence[Any]) -> Context | None:
            if model.config.condition == "none" or all(each is None for each in asked):
                return None
            if model.config.condition == "class":
                conditions = Conditions.of_classes(asked)
            else:
                conditions = Conditions.of_captions([each or () for each in asked])
            return packed.read(conditions.to(packed.device))

        return cls(packed, packed.device, read)

    @torch.inference_mode()
    def draw(
        self, wishes: Sequence[Wish], style: Style, *, is_wanted: Callable[[int], bool], on_step: OnStep
    ) -> Sequence[Pixels]:
        """The pixels of every wish that is still wanted."""
        seeds = [wish.seed for wish in wishes]
        noise_BCHW = draw_noise(self._denoiser.config, seeds).to(self._device)

        def tell(step: SamplingStep) -> None:
            on_step(Step(step.number, lambda place: pixels_of(step.predicted_BCHW[place : place + 1])[0]))

        drawn_BCHW = integrate(
            self._of_wanted(wishes, style, is_wanted),
            noise_BCHW,
            steps=style.steps,
            solver=style.solver,  # type: ignore[arg-type]  # the ask allows no other words
            on_step=tell,
        )
        return pixels_of(drawn_BCHW)

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
                asked = [wishes[place].condition for place in places]
                context = None if style.guidance == 0 else self._read(asked)
                predict = guided_by(self._denoiser, context, style.guidance)
            if len(places) == len(wishes):
                return predict(noisy_BCHW, time)
            rows = torch.tensor(places, device=noisy_BCHW.device)
            predicted_BCHW = torch.zeros_like(noisy_BCHW)
            predicted_BCHW[rows] = predict(noisy_BCHW[rows], time)
            return predicted_BCHW

        return predicted


def pixels_of(images_BCHW: Tensor) -> list[Pixels]:
    """Pictures as they are shown."""
    return list(to_pixels(images_BCHW).cpu().numpy())
