"""What a fused model draws when it is told captions of the validation split: a row of pictures each."""

from collections.abc import Iterator
from pathlib import Path

from vermeil_data import EncodedSamples, OpenMixture, PromptSpeller
from vermeil_model import FusedModel, draw, to_pixels

from vermeil_trainer.fusing import styles_of
from vermeil_trainer.grid import draw_rows
from vermeil_trainer.recipe import Recipe

_MOST_PROMPTS, _COLUMNS = 10, 4
_MARKS = 8
"""More than are spelled around a caption."""


def draw_mixed_grid(recipe: Recipe, mixture: OpenMixture, model: FusedModel, path: Path) -> None:
    """Pictures asked for by text, as one PNG; nothing where the mixture has no task that draws."""
    prompts = _prompts(mixture, max(1, recipe.mixture.text_slots - _MARKS))
    if not prompts:
        return
    speller = PromptSpeller(mixture.tokenizer, styles_of(mixture))
    spelled = [speller.prompt("text-to-image", text=text) for text in prompts for _ in range(_COLUMNS)]
    images_BCHW = draw(
        model,
        spelled,
        seeds=range(len(spelled)),
        steps=recipe.image.sampling_steps,
        guidance=recipe.image.guidance,
    )
    draw_rows(to_pixels(images_BCHW).numpy(force=True), prompts, path)


def _prompts(mixture: OpenMixture, most_tokens: int) -> list[str]:
    """Different captions of the first task that draws from them; of long ones what it learns of them."""
    drawing = [task.source for task in mixture.mixture.tasks if task.kind == "text-to-image"]
    if not drawing:
        return []
    found: dict[str, None] = {}
    for ids in _captions(mixture.sources[drawing[0]]):
        found[mixture.tokenizer.decode(ids[:most_tokens])] = None
        if len(found) == _MOST_PROMPTS:
            break
    return list(found)


def _captions(source: EncodedSamples) -> Iterator[list[int]]:
    """The first text of every sample that begins with one."""
    samples = source.samples("validation")
    for first in samples.sample_offsets[:-1]:
        begin, end = samples.text_offsets[first : first + 2]
        if end > begin:
            yield samples.ids_T[begin:end].tolist()
