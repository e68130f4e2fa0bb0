"""An adapter in memory: a difference over a text model that is loaded once for all of them.

Its answers are written by the engine of its base, in one batch with those of the base and of others.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from vermeil_errors import InvalidInput
from vermeil_model import PackedAdapter, load_adapter
from vermeil_telemetry import get_logger

from vermeil_generator.ask import Ask
from vermeil_generator.grammar import Grammars
from vermeil_generator.loaded_text import LoadedTextModel
from vermeil_generator.piece import Piece
from vermeil_generator.question import Question

_logger = get_logger(__name__)


@dataclass(frozen=True)
class LoadedAdapter:
    """One version of an adapter, ready to answer as long as its base stays."""

    output_modalities: ClassVar[tuple[str, ...]] = LoadedTextModel.output_modalities

    name: str
    """"models/{model}/versions/{version}"."""
    base: LoadedTextModel
    adapter: PackedAdapter

    @property
    def num_bytes(self) -> int:
        """Size of its weights in memory."""
        return self.adapter.num_bytes

    @property
    def memory_bytes(self) -> int:
        """All that it takes beside its base."""
        return self.adapter.num_bytes

    @property
    def context_length(self) -> int:
        """Longest sequence in tokens."""
        return self.base.context_length

    @property
    def grammars(self) -> Grammars:
        """Of its base: they have one vocabulary."""
        return self.base.grammars

    @property
    def is_alive(self) -> bool:
        """Whether it can take questions."""
        return self.base.is_alive

    def prepare(self, ask: Ask) -> Question:
        """The question that an ask puts to this model."""
        return replace(self.base.prepare(ask), adapter=self.adapter)

    def answer(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The pieces of its answers."""
        return self.base.answer(question)

    def close(self) -> None:
        """Nothing but its weights is held."""


def load_over(name: str, folder: Path, base: object) -> LoadedAdapter:
    """Read the folder of an adapter whose base is in memory."""
    if not isinstance(base, LoadedTextModel):
        raise InvalidInput.for_field(
            "model", name, "is an adapter of a model that is no language model", "name another model"
        )
    adapter = PackedAdapter(load_adapter(folder), base.packed)
    _logger.info("adapter loaded", model=name, base=base.name, weight_bytes=adapter.num_bytes)
    return LoadedAdapter(name, base, adapter)
