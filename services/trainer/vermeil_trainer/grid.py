"""A grid of samples: a row for each class or caption, so that people see what a run has learned.

The same seeds at every validation: the grids of a run show the same pictures getting better.
"""

import textwrap
from pathlib import Path

import numpy as np
import numpy.typing as npt
from vermeil_data import EncodedImages
from vermeil_model import Conditions, ImageModel, sample_images, to_pixels

from vermeil_trainer.recipe import Recipe

VALIDATION = "validation"
_MOST_ROWS, _MOST_PICTURES = 10, 40
_LABEL_WIDTH = 28
"""Letters in a line of a caption."""
_INCHES = 0.9
"""Width of a picture on paper."""
_GAP = 1
"""Pixels between pictures."""


def draw_grid(recipe: Recipe, encoded: EncodedImages, model: ImageModel, path: Path) -> None:
    """Sample pictures of classes or captions of the validation split, and write them as one PNG."""
    conditions, labels = _asked_for(encoded, model)
    columns = _MOST_PICTURES // len(labels)
    if conditions is not None:
        rows = [row for row in range(len(labels)) for _ in range(columns)]
        conditions = Conditions(*(None if part is None else part[rows] for part in conditions))
    images_BCHW = sample_images(
        model,
        conditions,
        seeds=range(len(labels) * columns),
        steps=recipe.image.sampling_steps,
        guidance=1.0 if conditions is None else recipe.image.guidance,
    )
    draw_rows(to_pixels(images_BCHW).numpy(force=True), labels, path)


def draw_rows(pixels_BHWC: npt.NDArray[np.uint8], labels: list[str], path: Path) -> None:
    """Pictures in as many rows as there are labels, which stand before them, as a PNG."""
    # A second and a half of imports that only those who look at pictures pay for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    columns = len(pixels_BHWC) // len(labels)
    height, width = (edge + _GAP for edge in pixels_BHWC.shape[1:3])
    tiled = np.full((len(labels) * height, columns * width, pixels_BHWC.shape[3]), 255, np.uint8)
    for index, pixels_HWC in enumerate(pixels_BHWC):
        row, column = divmod(index, columns)
        place = np.s_[row * height : (row + 1) * height - _GAP, column * width : (column + 1) * width - _GAP]
        tiled[place] = pixels_HWC
    wrapped = [textwrap.wrap(label, _LABEL_WIDTH)[:3] for label in labels]
    figure = Figure(figsize=(columns * _INCHES, len(labels) * _INCHES * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(tiled.squeeze(2) if tiled.shape[2] == 1 else tiled, cmap="gray", vmin=0, vmax=255)
    axes.set_yticks(
        [row * height + (height - _GAP) / 2 for row in range(len(labels))],
        ["\n".join(lines) for lines in wrapped],
        fontsize=8,
        parse_math=False,  # a caption may hold a price: two dollar signs are no formula
    )
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The canvas of the figure itself: pyplot would keep global state and is not safe in threads.
    FigureCanvasAgg(figure).print_figure(path, bbox_inches="tight", pad_inches=0.1)


def _asked_for(encoded: EncodedImages, model: ImageModel) -> tuple[Conditions | None, list[str]]:
    """What the rows show, and how people call it."""
    if model.config.condition == "class":
        names = encoded.class_names
        chosen = np.linspace(0, len(names) - 1, min(len(names), _MOST_ROWS)).round().astype(int).tolist()
        return Conditions.of_classes(chosen), [names[index] for index in chosen]
    if model.config.condition == "text":
        return _captions(encoded, model.config.context_length)
    return None, [""] * 5


def _captions(encoded: EncodedImages, most_tokens: int) -> tuple[Conditions, list[str]]:
    """Different captions of the first pictures of the validation split that have any, one of each."""
    tokenizer = encoded.tokenizer
    assert tokenizer is not None  # captions have been read by it
    captions = encoded.captions(VALIDATION)
    found: dict[tuple[int, ...], None] = {}
    for index in range(encoded.num_images(VALIDATION)):
        told = next((ids for ids in captions.of(index) if len(ids)), None)
        if told is not None:
            found[tuple(told[:most_tokens].tolist())] = None
        if len(found) == _MOST_ROWS:
            break
    chosen = [list(ids) for ids in found]
    return Conditions.of_captions(chosen), [tokenizer.decode(ids) for ids in chosen]
