"""Prompts as they were spelled in training: what stood before the answer of a task, and nothing after it.

captioning      <bos><boi>▢<eoi>                  or   <bos><|user|><boi>▢<eoi><|end|><|assistant|>
vqa             <bos><|user|><boi>▢<eoi> question <|end|><|assistant|>
text-to-image   <bos> caption <boi>               or   <bos><|user|> caption <|end|><|assistant|><boi>
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from vermeil_errors import InvalidInput

from vermeil_data.mixture import MixtureTask, Style, TaskKind
from vermeil_data.spelling import NONE, Marks, Segments, spelled
from vermeil_data.tokenizer import TextTokenizer

AskedTask = Literal["captioning", "vqa", "text-to-image"]
Picture = TypeVar("Picture")


class PromptSpeller:
    """Spells prompts for a model whose tokenizer has marks for pictures."""

    def __init__(self, tokenizer: TextTokenizer, styles: Mapping[str, Style] | None = None) -> None:
        """`styles` says how tasks were spelled; of those it does not name, a mixture's default."""
        self._tokenizer, self._styles = tokenizer, styles or {}

    def style(self, kind: TaskKind) -> Style:
        """How a task is spelled."""
        style = MixtureTask(kind, "any", style=self._styles.get(kind)).style
        assert style is not None  # a task settles its own
        return style

    def prompt(
        self, kind: AskedTask, *, text: str = "", pictures: Sequence[Picture] = ()
    ) -> list[list[int] | Picture]:
        """Runs of tokens with the pictures between them, which may be anything; pictures come first."""
        if kind == "text-to-image" and pictures:
            raise InvalidInput.for_field(
                "pictures", len(pictures), f"mean nothing for {kind}", "leave them out"
            )
        chat = self.style(kind) == "chat"
        ids = self._tokenizer.encode(text)
        texts = [ids] if ids else []
        pieces = spelled(
            _segments(len(pictures), [len(each) for each in texts], draws=kind == "text-to-image"),
            Marks.of(self._tokenizer, chat=chat),
            chat=chat,
            calls=chat,
        )
        runs: list[list[int] | Picture] = [[]]
        tokens = ids
        for mark, begin, length, picture, learned in zip(
            pieces.mark_P, pieces.begin_P, pieces.length_P, pieces.picture_P, pieces.learned_P, strict=True
        ):
            if mark == NONE and learned:
                break
            if picture != NONE:
                runs += [pictures[picture], []]
                continue
            last = runs[-1]
            assert isinstance(last, list)  # a picture has a mark before and behind it
            last += [int(mark)] if mark != NONE else tokens[begin : begin + length]
        return runs


def _segments(num_pictures: int, lengths: Sequence[int], *, draws: bool) -> Segments:
    """Pictures and texts that are given, and one more of what is asked for."""
    size = num_pictures + len(lengths) + 1
    shown = np.full(size, NONE, np.int64)
    shown[:num_pictures] = np.arange(num_pictures)
    shown[-1] = num_pictures if draws else NONE
    of_text = np.zeros(size, np.int64)
    of_text[num_pictures:-1] = lengths
    last = np.arange(size) == size - 1
    begins = np.concatenate(([0], np.cumsum(of_text)[:-1]))
    return Segments(np.zeros(size, np.int64), shown, begins, of_text, last, np.ones(size, bool))
