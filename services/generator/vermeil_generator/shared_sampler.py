"""A fused model as a painter uses it: what is ordered is drawn beside what its conversations draw.

All are on one easel, and whoever moves it moves all; conversations and painter take turns with the model, so
that nobody who writes waits for more than one step of pictures.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from vermeil_media import Pixels
from vermeil_model import DrawingParameters, Easel, FusedModel, TextForm
from vermeil_model.context import Context
from vermeil_model.conversations import CHUNK
from vermeil_model.easel import Drawing

from vermeil_generator.image_order import Style, Wish
from vermeil_generator.sampler import NobodyWaitsError, OnStep, Step, pixels_of


class SharedSampler:
    """Draws on an easel that others use too.

    Args:
        model: Reads what is asked for.
        form: Its frozen form for that.
        easel: Where pictures are drawn.
    """

    def __init__(self, model: FusedModel, form: TextForm, easel: Easel) -> None:
        self._model, self._form, self._easel = model, form, easel
        self._device = model.text.embedding.weight.device

    @torch.inference_mode()
    def draw(
        self, wishes: Sequence[Wish], style: Style, *, is_wanted: Callable[[int], bool], on_step: OnStep
    ) -> Sequence[Pixels]:
        """The pixels of every wish that is still wanted."""
        parameters = DrawingParameters(
            steps=style.steps,
            guidance=style.guidance,
            solver=style.solver,  # type: ignore[arg-type]  # the ask allows no other words
        )
        drawings: list[Drawing] = []
        try:
            drawings += self._begun(wishes, parameters)
            image = self._model.config.image
            nothing = torch.zeros(1, image.channels, image.image_height, image.image_width)
            latest = [nothing] * len(drawings)
            for number in range(1, style.steps + 1):
                latest = self._stepped(drawings, latest, is_wanted)
                on_step(Step(number, lambda place, found=latest: pixels_of(found[place])[0]))  # type: ignore[misc]
            return [pixels_of(image_1CHW)[0] for image_1CHW in latest]
        finally:
            with self._easel.turns.turn():
                for drawing in drawings:
                    self._easel.remove(drawing)

    def _begun(self, wishes: Sequence[Wish], parameters: DrawingParameters) -> list[Drawing]:
        contexts: dict[object, Context | None] = {None: None}
        for wish in wishes:
            if wish.condition not in contexts:
                assert isinstance(wish.condition, tuple)
                contexts[wish.condition] = self._read(wish.condition)
        with self._easel.turns.turn():
            return [self._easel.add(contexts[wish.condition], wish.seed, parameters) for wish in wishes]

    def _read(self, prompt: Sequence[int]) -> Context:
        """A prompt, read in parts."""
        memory = self._model.begin(1)
        for start in range(0, len(prompt), CHUNK):
            tokens_1T = torch.tensor([prompt[start : start + CHUNK]], device=self._device)
            with self._easel.turns.turn():
                self._model.read_on(memory, tokens_1T, form=self._form)
        with self._easel.turns.turn():
            return self._model.context(memory)

    def _stepped(
        self, drawings: Sequence[Drawing], latest: Sequence[Tensor], is_wanted: Callable[[int], bool]
    ) -> list[Tensor]:
        """What is known of all pictures after their next step, or was when they were given up."""
        while True:
            wanted = [is_wanted(place) for place in range(len(drawings))]
            if not any(wanted):
                raise NobodyWaitsError
            open_ = [drawing for drawing, waits in zip(drawings, wanted, strict=True) if waits]
            failed = next((drawing.error for drawing in open_ if drawing.error is not None), None)
            if failed is not None:
                raise failed
            if all(drawing.steps for drawing in open_):
                break
            with self._easel.turns.turn():
                for drawing, waits in zip(drawings, wanted, strict=True):
                    if not waits:
                        self._easel.remove(drawing)
                self._easel.move()
        rows = zip(drawings, latest, wanted, strict=True)
        return [d.steps.popleft().predicted_BCHW if waits else known for d, known, waits in rows]
