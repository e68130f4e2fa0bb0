"""A version of a model of text and pictures in memory: an engine that converses and a painter that draws.

Two threads that take turns with the same weights: the engine draws where the model itself says <boi>, the
painter what GenerateImages asks for, all on one easel.
"""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vermeil_data import ImageEncoding, TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_media import ImageLimits
from vermeil_model import (
    Conversations,
    DrawingParameters,
    Easel,
    FusedConfig,
    FusedModel,
    Markers,
    load_checkpoint,
    score,
)
from vermeil_model.checkpoint import CONFIG_FILE
from vermeil_telemetry import get_logger

from vermeil_generator.ask import Ask
from vermeil_generator.device import best_device, precision, weight_bytes
from vermeil_generator.engine import Engine
from vermeil_generator.grammar import Grammars, GuidanceGrammars
from vermeil_generator.image_order import Captions, Drawable
from vermeil_generator.loaded_image import (
    SAMPLING,
    LoadedImageModel,
    activation_bytes,
    check_showable,
    suited,
)
from vermeil_generator.painter import Painter
from vermeil_generator.patience import Patience
from vermeil_generator.picture_reader import PictureReader
from vermeil_generator.piece import Piece
from vermeil_generator.question import Question, prepare
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.shared_sampler import SharedSampler
from vermeil_generator.vocabulary import Vocabulary

FIT = "image_fit"
"""Key of config.json: what happened to pictures of another shape when it learned."""
STYLES = "styles"
"""Key of config.json: by the name of a task whether it was learned as "document" or "chat"."""
_logger = get_logger(__name__)


@dataclass(frozen=True)
class LoadedFusedModel:
    """One version of a model of text and pictures, ready to converse and to draw."""

    output_modalities: ClassVar[tuple[str, ...]] = ("text", "image")

    name: str
    """"models/{model}/versions/{version}"."""
    config: FusedConfig
    tokenizer: TextTokenizer
    grammars: Grammars
    pictures: PictureReader
    """Those it is shown."""
    engine: Engine
    drawing: LoadedImageModel
    """The same model, asked for nothing but pictures."""
    num_bytes: int
    """Size of its weights in memory."""
    memory_bytes: int
    """All that it takes: weights, the frozen form that draws, what running and ended conversations keep."""

    @property
    def context_length(self) -> int:
        """Longest sequence in tokens."""
        return self.config.text.context_length

    @property
    def is_alive(self) -> bool:
        """Whether it can take questions and orders."""
        return self.engine.is_alive and self.drawing.is_alive

    def prepare(self, ask: Ask) -> Question:
        """The question that an ask puts to this model."""
        text = self.config.text
        return prepare(
            ask, self.tokenizer, text.vocab_size, text.context_length, self.grammars, self.pictures
        )

    def answer(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The pieces of its answers."""
        return self.engine.answer(question)

    def close(self) -> None:
        """Free it; what is under way ends with Unavailable."""
        self.engine.close()
        self.drawing.close()


def load_fused(name: str, folder: Path, settings: GeneratorSettings) -> LoadedFusedModel:
    """Read config, weights and tokenizer of a model folder, and start what works on them."""
    device = best_device(settings)
    model = load_checkpoint(folder, FusedModel, dtype=precision(settings), device=device)
    config, tokenizer = model.config, TextTokenizer.load(folder)
    check_showable(config.image)
    markers = _markers(tokenizer, name)
    more = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    suits, styles = suited(more.get(SAMPLING)), more.get(STYLES, {})
    captions = _captions(config, tokenizer, in_chat=styles.get("text-to-image") == "chat")
    pictures = _picture_reader(config, more, settings)
    grammars = GuidanceGrammars(tokenizer, config.text.vocab_size)
    form, easel = model.writer(), Easel(model.painter(), model.text.embedding.weight.device)
    engine = Engine(
        name,
        make_decoder=lambda: Conversations(
            model,
            markers,
            form=form,
            easel=easel,
            num_slots=settings.generator_slots,
            kept_bytes=settings.generator_kept_bytes,
            drawing=DrawingParameters(steps=suits.steps, guidance=suits.guidance),
            most_pictures=settings.generator_answer_images,
        ),
        # No prompt of ids has pictures, and fused models take no adapters.
        score=lambda ids, top, _adapter: score(model.text, ids, num_logprobs=top),
        words=Vocabulary(tokenizer),
        max_waiting=settings.generator_queue,
        patience=Patience(settings.generator_max_wait),
    )
    batch = settings.generator_image_batch
    drawing = LoadedImageModel(
        name,
        Drawable(config.image, captions=captions, suited=suits),
        Painter(
            name,
            SharedSampler(model, form, easel),
            batch,
            settings.generator_image_queue,
            Patience(settings.generator_max_wait),
        ),
        num_bytes=0,
        memory_bytes=activation_bytes(config.image, batch),
    )
    weights = weight_bytes(model)
    conversing = model.memory_bytes(settings.generator_slots) + settings.generator_kept_bytes
    memory = 2 * weights + conversing + drawing.memory_bytes
    _logger.info("model loaded", model=name, device=device, weight_bytes=weights, memory_bytes=memory)
    return LoadedFusedModel(name, config, tokenizer, grammars, pictures, engine, drawing, weights, memory)


def _markers(tokenizer: TextTokenizer, name: str) -> Markers:
    if tokenizer.boi_id is None or tokenizer.eoi_id is None:
        raise InvalidInput.for_field(
            "model", name, "has a tokenizer without marks for pictures", "train it with encoded samples"
        )
    return Markers(tokenizer.boi_id, tokenizer.eoi_id)


def _picture_reader(config: FusedConfig, more: dict[str, Any], settings: GeneratorSettings) -> PictureReader:
    image = config.image
    return PictureReader(
        ImageEncoding(image.image_height, image.image_width, image.channels, more.get(FIT, "crop")),  # type: ignore[arg-type]  # checked as showable
        ImageLimits(max_pixels=settings.generator_prompt_pixels),
        most=settings.generator_prompt_images,
        patches_each=image.num_patches,
        stride=config.picture_stride,
        captioning=more.get(STYLES, {}).get("captioning", "document"),
    )


def _captions(config: FusedConfig, tokenizer: TextTokenizer, *, in_chat: bool) -> Captions:
    """A text up to the <boi> after which its picture was learned."""
    boi = tokenizer.picture_ids[:1]

    def spell(text: str) -> list[int]:
        if in_chat:
            return tokenizer.apply_chat_template([{"role": "user", "content": text}]) + boi
        return tokenizer.encode(text, add_bos=True) + boi

    return Captions(spell, config.text.context_length - config.picture_stride)
