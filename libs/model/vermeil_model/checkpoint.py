"""A model as a folder: config.json and model.safetensors, in the layout Hugging Face tools know.

Weights of the text tower are stored under "text.", so that later towers have their own names.
Optimizer state, tokenizers and model cards are other people's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.config import ModelConfig
from vermeil_model.tensor_files import (
    WEIGHTS_FILE,
    TensorFiles,
    check_tensors,
    read_json,
    write_json,
    write_tensors,
)
from vermeil_model.text_model import TextModel

CONFIG_FILE = "config.json"
MODEL_TYPE = "vermeil"
FORMAT_VERSION = 1
TEXT_PREFIX = "text."


def save_checkpoint(folder: Path, model: TextModel, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write the model; each file is there whole or not at all.

    `extra` joins config.json at the top level: bos_token_id, eos_token_id and the like.
    """
    dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
    values: dict[str, Any] = {
        "model_type": MODEL_TYPE,
        "architectures": ["VermeilForConditionalGeneration"],
        "format_version": FORMAT_VERSION,
        "dtype": dtype,
        "text": model.config.to_dict(),
    }
    clash = sorted(values.keys() & (extra or {}).keys())
    if clash:
        raise InvalidInput.for_field(
            "extra", clash[0], "is written by the checkpoint itself", "Leave it out."
        )
    tensors = {TEXT_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    write_tensors(folder / WEIGHTS_FILE, tensors)
    write_json(folder / CONFIG_FILE, values | dict(extra or {}))


def load_checkpoint(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> TextModel:
    """The model that `save_checkpoint` wrote, ready to evaluate, in its own dtype unless told otherwise."""
    config = read_config(folder)
    files = TensorFiles(folder)
    tensors = {name: files.read(name) for name in files.names}
    return build_model(config, tensors, TEXT_PREFIX, source=folder, dtype=dtype, device=device)


def read_config(folder: Path) -> ModelConfig:
    """The text tower's config of a checkpoint folder."""
    values = read_json(folder / CONFIG_FILE)
    model_type = values.get("model_type")
    if model_type != MODEL_TYPE:
        raise InvalidInput.for_field(
            "model_type",
            model_type,
            f"is another architecture than {MODEL_TYPE!r} (in {folder / CONFIG_FILE})",
            "Read Llama and Qwen3 checkpoints with import_llama.",
        )
    version = values.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise InvalidInput.for_field(
            "format_version", version, "is not known to this version of Vermeil", "Update Vermeil."
        )
    return ModelConfig.from_dict(values.get("text", {}))


def build_model(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    prefix: str,
    *,
    source: Path,
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> TextModel:
    """A model that takes the given tensors as its weights, without initialising any."""
    with torch.device("meta"):
        model = TextModel(config)
    expected = {prefix + name: tensor.shape for name, tensor in model.state_dict().items()}
    check_tensors({name: tensor.shape for name, tensor in tensors.items()}, expected, source)
    dtype = dtype or tensors[f"{prefix}embedding.weight"].dtype
    weights = {
        name.removeprefix(prefix): tensor.to(device=device, dtype=dtype) for name, tensor in tensors.items()
    }
    model.load_state_dict(weights, assign=True)
    model.rotary.reset(torch.device(device))
    return model.eval()
