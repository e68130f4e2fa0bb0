"""A small model with formula weights, and datasets of made-up text in every form."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from vermeil_data import (
    Sample,
    TextTokenizer,
    TokenizerSpec,
    encode_dataset,
    open_dataset,
    train_tokenizer,
    write_dataset,
)
from vermeil_data.encode import fit_tokenizer
from vermeil_data.testing import documents
from vermeil_model import ImageConfig, ImageModel, ModelConfig, TextModel, fuse, fused_config, save_checkpoint
from vermeil_model.testing import set_weights_by_formula

CONTEXT = 16
WriteDataset = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteDataset:
    """Writes a raw dataset whose validation split holds the given texts."""

    def make(texts: list[str], name: str = "texts") -> Path:
        samples = {
            "train": [Sample.of_text(text, id=f"train/{index}") for index, text in enumerate(documents(8))],
            "validation": [Sample.of_text(text, id=f"text/{index}") for index, text in enumerate(texts)],
        }
        write_dataset(tmp_path / name, samples, name)
        return tmp_path / name

    return make


@pytest.fixture
def many_texts(write: WriteDataset) -> Path:
    """Forty short documents, some with letters of two and three bytes."""
    texts = documents(40)
    return write([text + "größer 漢字 " * (index % 3) for index, text in enumerate(texts)], "many")


@pytest.fixture
def model_folder(tmp_path: Path, many_texts: Path) -> Path:
    """A model that can read bytes."""
    tokenizer = fit_tokenizer(open_dataset(many_texts), TokenizerSpec("byte"))
    return save_model(tmp_path / "model", tokenizer)


@pytest.fixture
def encoded_texts(many_texts: Path, model_folder: Path, tmp_path: Path) -> Path:
    """The forty documents encoded with the model's tokenizer."""
    encode_dataset(open_dataset(many_texts), TextTokenizer.load(model_folder), tmp_path / "encoded")
    return tmp_path / "encoded"


@pytest.fixture
def text_model(model_folder: Path) -> TextModel:
    return _model(TextTokenizer.load(model_folder).vocab_size)


def save_model(folder: Path, tokenizer: TextTokenizer) -> Path:
    tokenizer.save(folder)
    save_checkpoint(folder, _model(tokenizer.vocab_size))
    return folder


@pytest.fixture(scope="session")
def fused_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads bytes and pictures of 8 × 8, and draws such; it learned to chat about captions."""
    folder = tmp_path_factory.mktemp("fused")
    tokenizer = train_tokenizer([], TokenizerSpec("byte"))
    sizes: dict[str, Any] = {"depth": 2, "width": 32, "num_heads": 2, "num_key_value_heads": 2}
    text = TextModel(ModelConfig.from_depth(**sizes, vocab_size=tokenizer.vocab_size, context_length=64))
    image = ImageModel(
        ImageConfig.from_depth(**sizes, image_height=8, image_width=8, channels=3, patch_size=4)
    )
    model = fuse(text, image, fused_config(text, image, "alloy"))
    set_weights_by_formula(model)
    extra = {
        "image_fit": "stretch",
        "sampling": {"steps": 2, "guidance": 2.0},
        "styles": {"captioning": "document", "vqa": "chat", "text-to-image": "chat"},
    }
    tokenizer.save(folder)
    save_checkpoint(folder, model, extra=extra)
    return folder


def _model(vocab_size: int) -> TextModel:
    config = ModelConfig.from_depth(2, vocab_size, width=32, num_heads=2, context_length=CONTEXT)
    model = TextModel(config)
    set_weights_by_formula(model)
    return model.to(torch.float32).eval()
