"""Adapters on disk in PEFT's layout: adapter_config.json and adapter_model.safetensors.

What peft saves over a Llama or Qwen3 checkpoint is read, and peft reads what is written here over the
same base as `export_llama` writes it. What a text tower cannot compute as W + s·B·A is refused by name.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.adapter import (
    ALL_TARGETS,
    MATRICES,
    Adapter,
    AdapterConfig,
    Difference,
    difference_name,
    merged,
)
from vermeil_model.checkpoint import ADAPTER_CONFIG, load_checkpoint, save_checkpoint
from vermeil_model.llama_names import LAYER_NAMES
from vermeil_model.tensor_files import TensorFiles, read_json, write_json, write_tensors

ADAPTER_WEIGHTS = "adapter_model.safetensors"

_NAME = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)\.lora_([AB])\.weight")
_REQUIRED_VALUES: Mapping[str, object] = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "use_dora": False,
    "lora_bias": False,
}
_UNREAD = (
    *("modules_to_save", "rank_pattern", "alpha_pattern", "layers_to_transform", "layer_replication"),
    *("target_parameters", "trainable_token_indices", "alora_invocation_tokens"),
    *("use_qalora", "use_bdlora", "arrow_config", "kasa_config"),
)
"""Fields of PEFT that change what is computed; empty, they mean nothing."""
_THEIR_NAMES = {
    target: name
    for matrix, targets in MATRICES.items()
    for target, name in zip(targets, LAYER_NAMES[matrix], strict=True)
}


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / ADAPTER_CONFIG).is_file()


def save_adapter(folder: Path, adapter: Adapter) -> None:
    """Write it; each file is there whole or not at all."""
    config = adapter.config
    tensors: dict[str, Tensor] = {}
    for name, (narrow_RI, wide_OR) in adapter.differences.items():
        _, layer, target = name.split(".")
        path = f"base_model.model.model.layers.{layer}.{_THEIR_NAMES[target]}"
        tensors[f"{path}.lora_A.weight"], tensors[f"{path}.lora_B.weight"] = narrow_RI, wide_OR
    write_tensors(folder / ADAPTER_WEIGHTS, tensors)
    values = {
        **_REQUIRED_VALUES,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(config.targets),
        "use_rslora": False,
        "inference_mode": True,
    }
    write_json(folder / ADAPTER_CONFIG, values)


def load_adapter(folder: Path) -> Adapter:
    """The adapter that `save_adapter` or peft wrote, in the dtype it was stored in."""
    values = read_json(folder / ADAPTER_CONFIG)
    _check_values(values)
    files = TensorFiles(folder, ADAPTER_WEIGHTS)
    found: dict[str, dict[str, Tensor]] = {}
    for name in sorted(files.names):
        match = _NAME.fullmatch(name)
        if match is None or match[2] not in ALL_TARGETS:
            raise InvalidInput.for_field(
                name, None, "is no difference of a Llama layer's matrix", "Train it over those alone."
            )
        found.setdefault(difference_name(int(match[1]), match[2]), {})[match[3]] = files.read(name)
    for name, parts in found.items():
        if len(parts) < 2:
            raise InvalidInput.for_field(name, "".join(parts), "has no counterpart", "Save it whole.")
    targets = {name.rpartition(".")[2] for name in found}
    rank = values.get("r", 8)
    config = AdapterConfig(rank, _alpha(values, rank), tuple(t for t in ALL_TARGETS if t in targets))
    differences = {name: Difference(parts["A"], parts["B"]) for name, parts in found.items()}
    return Adapter(config, differences, values.get("base_model_name_or_path") or "")


def save_merged(folder: Path, base: Path, adapter: Path) -> None:
    """Write what `base` holds, its weights changed by an adapter: for who knows whole models alone."""
    save_checkpoint(folder, merged(load_checkpoint(base), load_adapter(adapter)))
    for path in base.iterdir():
        if ".safetensors" not in path.name:
            shutil.copyfile(path, folder / path.name)


def _alpha(values: Mapping[str, Any], rank: int) -> float:
    alpha = float(values.get("lora_alpha", 8))
    # Rank-stabilised adapters count alpha / sqrt(rank) times.
    return alpha * math.sqrt(rank) if values.get("use_rslora") else alpha


def _check_values(values: Mapping[str, Any]) -> None:
    for name, required in _REQUIRED_VALUES.items():
        value = values.get(name, required)
        if value != required:
            raise InvalidInput.for_field(name, value, "is not supported", f"Only {required!r} is.")
    for name in _UNREAD:
        if values.get(name):
            raise InvalidInput.for_field(name, values[name], "is not supported", "Train without it.")
