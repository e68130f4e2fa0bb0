"""A registry, a store and an encoder in memory, with one dataset in them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from vermeil_trainer.testing import World, write_words

Values = dict[str, Any]


@pytest.fixture(scope="session")
def small() -> Callable[..., Values]:
    """A recipe that trains in a second; sections given by name replace single fields."""

    def make(**changes: Any) -> Values:
        recipe: Values = {
            "name": "small",
            "model": {"depth": 2, "width": 32, "num_heads": 2, "context_length": 16},
            "data": {"dataset": "datasets/words", "tokenizer": {"kind": "byte"}},
            "run": {"steps": 12, "batch_size": 4, "precision": "fp32", "checkpoint_every": 5},
        }
        for name, value in changes.items():
            recipe[name] = recipe.get(name, {}) | value if isinstance(value, dict) else value
        return recipe

    return make


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_words(tmp_path / "raw")


@pytest.fixture
def world(tmp_path: Path, raw: Path) -> World:
    made = World.in_folder(tmp_path)
    made.add_dataset(raw)
    return made


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small only wait for one another on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
