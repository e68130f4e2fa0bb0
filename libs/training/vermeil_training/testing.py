"""A small run by formula, for the tests of everything that trains: same numbers everywhere."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from vermeil_data import EncodedDataset, Loader, TokenizerSpec
from vermeil_data.testing import documents, encoded_texts
from vermeil_model import ModelConfig, TextModel
from vermeil_model.testing import set_weights_by_formula

CONTEXT = 16
"""Tokens in a row."""


@dataclass(frozen=True)
class SmallRun:
    """Everything `fit` asks for, made anew at every call as a new process would make it."""

    encoded: EncodedDataset

    @classmethod
    def in_folder(cls, folder: Path) -> "SmallRun":
        """On generated words, one token a byte."""
        texts = {"train": documents(40), "validation": documents(10)}
        return cls(encoded_texts(folder, texts, TokenizerSpec("byte")))

    def model(self) -> TextModel:
        """Two layers of width 32."""
        config = ModelConfig.from_depth(
            2, self.encoded.vocab_size, width=32, num_heads=2, context_length=CONTEXT
        )
        model = TextModel(config)
        set_weights_by_formula(model)
        return model

    def loader(self, batch_size: int = 4, rank: int = 0, world_size: int = 1) -> Loader:
        """Packed rows, an epoch of which is longer than a few steps."""
        return Loader(self.encoded, "train", CONTEXT, batch_size, 7, rank, world_size, "packed")

    def validation(self, rank: int = 0, world_size: int = 1) -> Loader:
        """Random rows of the other split."""
        return Loader(self.encoded, "validation", CONTEXT, 4 // world_size, 7, rank, world_size)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Bit for bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)
