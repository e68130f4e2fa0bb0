"""What a fused model draws when it is told captions of the validation split: a row of pictures each."""

from collections.abc import Iterator
from pathlib import Path

import torch
from vermeil_data import EncodedSamples, OpenMixture
from vermeil_model import FusedModel, sample_in_context, to_pixels

from vermeil_trainer.grid import draw_rows
from vermeil_trainer.recipe import Recipe

_MOST_PROMPTS, _COLUMNS = 10, 4


def draw_mixed_grid(recipe: Recipe, mixture: OpenMixture, model: FusedModel, path: Path) -> None:
    """Pictures asked for by text, as one PNG; nothing where the mixture has no task that draws."""
    prompts = _prompts(mixture)
    if not prompts:
        return
    tokenizer = mixture.tokenizer
    assert tokenizer.boi_id is not None  # encoded samples have it
    rows = [[tokenizer.bos_id, *ids, tokenizer.boi_id] for ids in prompts]
    longest = max(map(len, rows))
    padded = torch.tensor([row + [tokenizer.pad_id] * (longest - len(row)) for row in rows])
    memory = model.begin(len(rows))
    model.read_text(memory, padded.to(model.text.embedding.weight.device), [len(row) for row in rows])
    images_BCHW = sample_in_context(
        model.painter(),
        model.context(memory.rows([row for row in range(len(rows)) for _ in range(_COLUMNS)])),
        seeds=range(_COLUMNS * len(rows)),
        steps=recipe.image.sampling_steps,
        guidance=recipe.image.guidance,
    )
    labels = [tokenizer.decode(ids) for ids in prompts]
    draw_rows(to_pixels(images_BCHW).numpy(force=True), labels, path)


def _prompts(mixture: OpenMixture) -> list[list[int]]:
    """Different captions of the first task that draws from them."""
    drawing = [task.source for task in mixture.mixture.tasks if task.kind == "text-to-image"]
    if not drawing:
        return []
    found: dict[tuple[int, ...], None] = {}
    for ids in _captions(mixture.sources[drawing[0]]):
        found[tuple(ids)] = None
        if len(found) == _MOST_PROMPTS:
            break
    return [list(ids) for ids in found]


def _captions(source: EncodedSamples) -> Iterator[list[int]]:
    """The first text of every sample that begins with one."""
    samples = source.samples("validation")
    for first in samples.sample_offsets[:-1]:
        begin, end = samples.text_offsets[first : first + 2]
        if end > begin:
            yield samples.ids_T[begin:end].tolist()
