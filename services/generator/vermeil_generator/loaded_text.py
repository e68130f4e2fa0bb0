"""A version of a text model in memory, with the engine that writes its answers."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vermeil_data import TextTokenizer
from vermeil_model import (
    Decoder,
    ModelConfig,
    PackedAdapter,
    PackedModel,
    TokenScore,
    adapted,
    load_checkpoint,
    score,
)
from vermeil_telemetry import get_logger

from vermeil_generator.ask import Ask
from vermeil_generator.device import best_device, precision, weight_bytes
from vermeil_generator.engine import Engine
from vermeil_generator.grammar import Grammars, GuidanceGrammars
from vermeil_generator.patience import Patience
from vermeil_generator.piece import Piece
from vermeil_generator.question import Question, prepare
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.vocabulary import Vocabulary

_CACHE_BYTES = 4
_logger = get_logger(__name__)


@dataclass(frozen=True)
class LoadedTextModel:
    """One version of a text model, ready to answer."""

    output_modalities: ClassVar[tuple[str, ...]] = ("text",)

    name: str
    """"models/{model}/versions/{version}"."""
    config: ModelConfig
    tokenizer: TextTokenizer
    grammars: Grammars
    engine: Engine
    packed: PackedModel
    """What adapters are laid over."""
    num_bytes: int
    """Size of its weights in memory."""
    memory_bytes: int
    """All that it may take: weights, their packed copy, what running answers hold and what is kept."""

    @property
    def context_length(self) -> int:
        """Longest sequence in tokens."""
        return self.config.context_length

    @property
    def is_alive(self) -> bool:
        """Whether it can take questions."""
        return self.engine.is_alive

    def prepare(self, ask: Ask) -> Question:
        """The question that an ask puts to this model."""
        return prepare(ask, self.tokenizer, self.config.vocab_size, self.config.context_length, self.grammars)

    def answer(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The pieces of its answers."""
        return self.engine.answer(question)

    def close(self) -> None:
        """Free it; answers under way end with Unavailable."""
        self.engine.close()


def load_text(name: str, folder: Path, settings: GeneratorSettings) -> LoadedTextModel:
    """Read config, weights and tokenizer of a model folder, and start its engine."""
    device = best_device(settings)
    model = load_checkpoint(folder, dtype=precision(settings), device=device)
    tokenizer = TextTokenizer.load(folder)
    packed = PackedModel(model)
    slots = settings.generator_slots
    grammars = GuidanceGrammars(tokenizer, model.config.vocab_size)

    def judge(ids: Sequence[int], num_top: int, adapter: PackedAdapter | None) -> Sequence[TokenScore]:
        changed = model if adapter is None else adapted(model, adapter.unpacked())
        return score(changed, ids, num_logprobs=num_top)

    engine = Engine(
        name,
        make_decoder=lambda: Decoder(
            packed,
            num_slots=slots,
            memory_bytes=settings.generator_cache_bytes,
            kept_bytes=settings.generator_kept_bytes,
        ),
        score=judge,
        words=Vocabulary(tokenizer),
        max_waiting=settings.generator_queue,
        patience=Patience(settings.generator_max_wait),
    )
    weights = weight_bytes(model)
    running = max(
        cache_bytes(model.config, 1), min(cache_bytes(model.config, slots), settings.generator_cache_bytes)
    )
    memory = 2 * weights + running + settings.generator_kept_bytes
    _logger.info("model loaded", model=name, device=device, weight_bytes=weights, memory_bytes=memory)
    return LoadedTextModel(name, model.config, tokenizer, grammars, engine, packed, weights, memory)


def cache_bytes(config: ModelConfig, slots: int) -> int:
    """What so many texts take that fill the context."""
    values = 2 * config.num_key_value_heads * config.head_width * config.depth
    return values * config.context_length * slots * _CACHE_BYTES
