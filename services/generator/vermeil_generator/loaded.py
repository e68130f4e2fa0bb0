"""A model version in memory, with the engine that works on it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import torch
from vermeil_data import TextTokenizer
from vermeil_model import Decoder, ModelConfig, PackedModel, TextModel, load_checkpoint, score
from vermeil_telemetry import get_logger

from vermeil_generator.ask import Ask
from vermeil_generator.engine import Engine
from vermeil_generator.piece import Piece
from vermeil_generator.question import Question, prepare
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.vocabulary import Vocabulary

_CACHE_BYTES = 4
_PRECISIONS = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
_logger = get_logger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """One version of a model, ready to answer."""

    name: str
    """"models/{model}/versions/{version}"."""
    config: ModelConfig
    tokenizer: TextTokenizer
    engine: Engine
    num_bytes: int
    """Size of its weights in memory."""
    memory_bytes: int
    """All that it takes: weights, their packed copy, the cache of its slots."""

    def prepare(self, ask: Ask) -> Question:
        """The question that an ask puts to this model."""
        return prepare(ask, self.tokenizer, self.config.vocab_size, self.config.context_length)

    def answer(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The pieces of its answers."""
        return self.engine.answer(question)

    def close(self) -> None:
        """Free it; answers under way end with Unavailable."""
        self.engine.close()


def load(name: str, folder: Path, settings: GeneratorSettings) -> LoadedModel:
    """Read config, weights and tokenizer of a model folder, and start its engine."""
    device = _device(settings.generator_device)
    model = load_checkpoint(folder, dtype=_PRECISIONS[settings.generator_precision], device=device)
    tokenizer = TextTokenizer.load(folder)
    packed = PackedModel(model)
    slots = settings.generator_slots
    engine = Engine(
        name,
        make_decoder=lambda: Decoder(packed, num_slots=slots),
        score=lambda ids, top: score(model, ids, num_logprobs=top),
        words=Vocabulary(tokenizer),
        max_waiting=settings.generator_queue,
    )
    weights = _weight_bytes(model)
    memory = 2 * weights + _cache_bytes(model.config, slots)
    _logger.info("model loaded", model=name, device=device, weight_bytes=weights, memory_bytes=memory)
    return LoadedModel(name, model.config, tokenizer, engine, weights, memory)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _weight_bytes(model: TextModel) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _cache_bytes(config: ModelConfig, slots: int) -> int:
    values = 2 * config.num_key_value_heads * config.head_width * config.depth
    return values * config.context_length * slots * _CACHE_BYTES
