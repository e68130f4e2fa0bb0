"""What pictures are asked to show: a class or a caption each, or nothing.

A batch is two or three tensors, of which the absent rows are marked by class −1 or caption length 0:
unconditional means that the condition is not there, not that a special one is.

Letters: B batch, L condition tokens.
"""
# ruff: noqa: N815

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.image_config import ImageConfig

NO_CLASS = -1
"""The class of a picture of which none is asked."""


class Conditions(NamedTuple):
    """Classes, or captions with their lengths."""

    classes_B: Tensor | None = None
    """int64; −1 where nothing is asked for."""
    tokens_BL: Tensor | None = None
    """int64 token ids of captions, padded on the right with any known id."""
    lengths_B: Tensor | None = None
    """int64, tokens of each caption; 0 where nothing is asked for."""

    @classmethod
    def of_classes(cls, classes: Sequence[int | None]) -> Conditions:
        """A class each; None asks for nothing."""
        return cls(classes_B=torch.tensor([NO_CLASS if c is None else c for c in classes]))

    @classmethod
    def of_captions(cls, captions: Sequence[Sequence[int]]) -> Conditions:
        """The token ids of a caption each; an empty one asks for nothing."""
        lengths = [len(caption) for caption in captions]
        tokens_BL = torch.zeros(len(captions), max([1, *lengths]), dtype=torch.long)
        for row, caption in zip(tokens_BL, captions, strict=True):
            row[: len(caption)] = torch.tensor(list(caption), dtype=torch.long)
        return cls(tokens_BL=tokens_BL, lengths_B=torch.tensor(lengths))

    def __len__(self) -> int:
        """How many pictures."""
        return len(self._rows)

    @property
    def _rows(self) -> Tensor:
        rows = self.lengths_B if self.classes_B is None else self.classes_B
        if rows is None:
            raise InvalidInput.for_field(
                "conditions", None, "hold neither classes nor caption lengths", "Give one of them."
            )
        return rows

    def to(self, device: torch.device | str) -> Conditions:
        """The same on another device."""
        return Conditions(*(None if part is None else part.to(device) for part in self._parts))

    def dropped(self, drop_B: Tensor) -> Conditions:
        """Nothing asked for where `drop_B` is true."""
        if self.classes_B is not None:
            return Conditions(classes_B=self.classes_B.masked_fill(drop_B, NO_CLASS))
        return Conditions(tokens_BL=self.tokens_BL, lengths_B=self._rows.masked_fill(drop_B, 0))

    @property
    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.classes_B, self.tokens_BL, self.lengths_B


def check_conditions(conditions: Conditions | None, config: ImageConfig, num_pictures: int) -> None:
    """Refuse what a model cannot be asked for, by name. Reads the values: for requests, not for training."""
    if conditions is None:
        return
    check_kind(conditions, config)
    if len(conditions) != num_pictures:
        raise InvalidInput.for_field(
            "conditions", len(conditions), f"do not match {num_pictures} pictures", "Give one a picture."
        )
    if conditions.classes_B is not None:
        _check_range("classes", conditions.classes_B, NO_CLASS, config.num_classes)
    elif conditions.tokens_BL is not None:
        _check_range("captions", conditions.tokens_BL, 0, config.vocab_size)


def check_kind(conditions: Conditions, config: ImageConfig) -> None:
    """Refuse classes for a model of captions, captions for one of classes, and captions too long."""
    given = "class" if conditions.classes_B is not None else "text"
    if given != config.condition:
        raise InvalidInput.for_field(
            "conditions",
            given,
            f"is not what this model was made for ({config.condition})",
            "Ask it for nothing." if config.condition == "none" else f"Give it a {config.condition}.",
        )
    if conditions.tokens_BL is not None and conditions.tokens_BL.shape[1] > config.context_length:
        raise InvalidInput.for_field(
            "captions",
            conditions.tokens_BL.shape[1],
            f"exceed {config.context_length} condition tokens",
            "Shorten them.",
        )


def _check_range(field: str, values: Tensor, lowest: int, end: int) -> None:
    if values.numel() and not bool(((values >= lowest) & (values < end)).all()):
        wrong = values[(values < lowest) | (values >= end)].flatten()[0]
        raise InvalidInput.for_field(
            field, int(wrong), f"is not known to this model of {end}", f"Use 0 to {end - 1}."
        )
