"""A version of a model of images in memory, with the painter that draws for it."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_model import ImageConfig, ImageModel, load_checkpoint
from vermeil_model.checkpoint import CONFIG_FILE
from vermeil_telemetry import get_logger

from vermeil_generator.device import best_device, precision, weight_bytes
from vermeil_generator.image_ask import ImageAsk, ImageSampling
from vermeil_generator.image_order import Captions, Drawable, ImageOrder, Suited
from vermeil_generator.painter import ImageEvent, Painter
from vermeil_generator.patience import Patience
from vermeil_generator.sampler import Sampler
from vermeil_generator.settings import GeneratorSettings

CLASS_NAMES = "class_names"
"""Key of config.json: the names of the classes by their numbers."""
SAMPLING = "sampling"
"""Key of config.json: steps and guidance that suit the model."""
_SHOWABLE = (1, 3, 4)
_VALUE_BYTES = 4
_WITH_AND_WITHOUT = 2
_logger = get_logger(__name__)


@dataclass(frozen=True)
class LoadedImageModel:
    """One version of a model of images, ready to draw."""

    output_modalities: ClassVar[tuple[str, ...]] = ("image",)
    context_length: ClassVar[int] = 0

    name: str
    """"models/{model}/versions/{version}"."""
    drawable: Drawable
    """What it can be asked for."""
    painter: Painter
    num_bytes: int
    """Size of its weights in memory."""
    memory_bytes: int
    """All that it takes: weights, their packed copy, the pictures of one batch in a layer."""

    @property
    def config(self) -> ImageConfig:
        """Its sizes."""
        return self.drawable.config

    @property
    def is_alive(self) -> bool:
        """Whether it can take orders."""
        return self.painter.is_alive

    def prepare(self, ask: ImageAsk) -> ImageOrder:
        """The order that an ask puts to this model."""
        return self.drawable.prepare(ask)

    def draw(self, order: ImageOrder) -> AsyncGenerator[ImageEvent, None]:
        """Progress and pictures."""
        return self.painter.draw(order)

    def close(self) -> None:
        """Free it; orders under way end with Unavailable."""
        self.painter.close()


def load_image(name: str, folder: Path, settings: GeneratorSettings) -> LoadedImageModel:
    """Read config, weights, class names and tokenizer of a model folder, and start its painter."""
    device = best_device(settings)
    model = load_checkpoint(folder, ImageModel, dtype=precision(settings), device=device)
    config = model.config
    check_showable(config)
    captions = None
    if config.condition == "text":
        captions = Captions(TextTokenizer.load(folder).encode, config.context_length)
    more = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    names = _class_names(more.get(CLASS_NAMES), config, folder)
    drawable = Drawable(config, names, captions, suited(more.get(SAMPLING)))
    batch = settings.generator_image_batch
    patience = Patience(settings.generator_max_wait)
    painter = Painter(name, Sampler.of_images(model), batch, settings.generator_image_queue, patience)
    weights = weight_bytes(model)
    memory = 2 * weights + activation_bytes(config, batch)
    _logger.info("model loaded", model=name, device=device, weight_bytes=weights, memory_bytes=memory)
    return LoadedImageModel(name, drawable, painter, weights, memory)


def check_showable(config: ImageConfig) -> None:
    """Refuse a model whose pictures nobody can look at."""
    if config.channels not in _SHOWABLE:
        raise InvalidInput.for_field(
            "channels", config.channels, "are latents and no picture", "load a model of 1, 3 or 4 channels"
        )


def suited(sampling: dict[str, Any] | None) -> Suited:
    """How a model draws unless told otherwise, by what its config.json says."""
    wanted = ImageSampling(**{"steps": Suited.steps, "guidance": Suited.guidance, **(sampling or {})})
    assert wanted.steps is not None
    assert wanted.guidance is not None
    return Suited(wanted.steps, wanted.guidance)


def _class_names(names: list[str] | None, config: ImageConfig, folder: Path) -> tuple[str, ...]:
    names = names or []
    if config.condition != "class":
        return ()
    if len(names) not in (0, config.num_classes):
        raise InvalidInput.for_field(
            CLASS_NAMES,
            len(names),
            f"do not match the {config.num_classes} classes of the model",
            f"see {folder / CONFIG_FILE}",
        )
    return tuple(str(each) for each in names)


def activation_bytes(config: ImageConfig, batch: int) -> int:
    """Of pictures drawn together: those of one layer, roughly; guidance draws each picture twice."""
    a_token = 6 * config.width + 3 * config.feed_forward_width
    context = 2 * config.depth * config.context_length * config.num_key_value_heads * config.head_width
    one = config.num_patches * a_token + context
    return _WITH_AND_WITHOUT * batch * one * _VALUE_BYTES
