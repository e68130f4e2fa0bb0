"""Llama and Qwen3 checkpoints on disk, read into the text tower and written back, without transformers.

The two differ in QK-norm alone (Qwen3 has it). What the text tower cannot compute exactly — biases,
sliding windows, other activations, rope scaling other than Llama 3's — is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.checkpoint import CONFIG_FILE, fill_model
from vermeil_model.config import ModelConfig, RopeScaling
from vermeil_model.int8 import require_floats
from vermeil_model.llama_names import LAYER_NAMES, row_counts
from vermeil_model.tensor_files import WEIGHTS_FILE, TensorFiles, read_json, write_json, write_tensors
from vermeil_model.text_model import TextModel
from vermeil_model.unfilled import unfilled

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_REQUIRED_VALUES = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "pretraining_tp": 1,
}
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def import_llama(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> TextModel:
    """The text tower with the weights of a LlamaForCausalLM or Qwen3ForCausalLM folder; same logits."""
    values = read_json(folder / CONFIG_FILE)
    files = TensorFiles(folder)
    theirs = {name: files.read(name) for name in files.names if not name.endswith("rotary_emb.inv_freq")}
    tied = bool(values.get("tie_word_embeddings", False))
    if tied and _HEAD in theirs:
        head = theirs.pop(_HEAD)
        if not torch.equal(head, theirs.get(_EMBEDDING, head)):
            raise InvalidInput.for_field(
                "tie_word_embeddings", True, f"contradicts {_HEAD}, which differs", "Set it to false."
            )
    config = _config_from(values, tied=tied)
    with unfilled():
        model = TextModel(config)
    return fill_model(model, _joined(theirs, config), "", source=folder, dtype=dtype, device=device)


def export_llama(folder: Path, model: TextModel, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write the model as a LlamaForCausalLM or, with QK-norm, a Qwen3ForCausalLM folder.

    `extra` joins config.json: bos_token_id, eos_token_id and the like.
    """
    require_floats(model, "model", "TextModel")
    names = _names(model.config)
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        parts = torch.split(tensor, row_counts(name, model.config) or [len(tensor)])
        tensors |= dict(zip(names[name], parts, strict=True))
    write_tensors(folder / WEIGHTS_FILE, tensors)
    write_json(folder / CONFIG_FILE, _config_to(model) | dict(extra or {}))


def _names(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Our name of every weight → theirs."""
    names: dict[str, tuple[str, ...]] = {
        "embedding.weight": (_EMBEDDING,),
        "norm.weight": ("model.norm.weight",),
    }
    if not config.tie_embeddings:
        names["head.weight"] = (_HEAD,)
    for layer in range(config.depth):
        for ours, theirs in LAYER_NAMES.items():
            if config.qk_norm or ours not in ("attention.query_norm", "attention.key_norm"):
                names[f"layers.{layer}.{ours}.weight"] = tuple(
                    f"model.layers.{layer}.{name}.weight" for name in theirs
                )
    return names


def _joined(theirs: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors under our names; what has no place keeps its name, to be refused by it."""
    ours: dict[str, Tensor] = {}
    for name, parts in _names(config).items():
        rows = row_counts(name, config)
        fitting = all(
            part in theirs and (not rows or len(theirs[part]) == rows[index])
            for index, part in enumerate(parts)
        )
        if fitting:
            ours[name] = torch.cat([theirs.pop(part) for part in parts])
    return ours | theirs


def _config_from(values: Mapping[str, Any], *, tied: bool) -> ModelConfig:
    model_type = values.get("model_type")
    if model_type not in _ARCHITECTURES:
        raise InvalidInput.for_field(
            "model_type", model_type, "is not an architecture we can read", "Use llama or qwen3."
        )
    for name, required in _REQUIRED_VALUES.items():
        value = values.get(name, required)
        if value != required:
            raise InvalidInput.for_field(name, value, "is not supported", f"Only {required!r} is.")
    if any(kind != "full_attention" for kind in values.get("layer_types") or ()):
        raise InvalidInput.for_field(
            "layer_types", None, "has sliding windows", "Only full attention is read."
        )
    try:
        heads = values["num_attention_heads"]
        rope = dict(values.get("rope_parameters") or values.get("rope_scaling") or {})
        return ModelConfig(
            vocab_size=values["vocab_size"],
            depth=values["num_hidden_layers"],
            width=values["hidden_size"],
            num_heads=heads,
            num_key_value_heads=values.get("num_key_value_heads") or heads,
            head_width=values.get("head_dim") or values["hidden_size"] // heads,
            feed_forward_width=values["intermediate_size"],
            context_length=values["max_position_embeddings"],
            rope_theta=float(rope.get("rope_theta", values.get("rope_theta", 10_000.0))),
            rope_scaling=_scaling_from(rope),
            norm_epsilon=values["rms_norm_eps"],
            qk_norm=model_type == "qwen3",
            tie_embeddings=tied,
        )
    except KeyError as error:
        raise InvalidInput.for_field(
            str(error.args[0]), None, "is missing in config.json", "Add it."
        ) from error


def _scaling_from(rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise InvalidInput.for_field(
            "rope_type", kind, "is not supported", "Only 'default' and 'llama3' are."
        )
    return RopeScaling(
        factor=rope["factor"],
        low_frequency_factor=rope["low_freq_factor"],
        high_frequency_factor=rope["high_freq_factor"],
        original_context_length=rope["original_max_position_embeddings"],
    )


def _config_to(model: TextModel) -> dict[str, Any]:
    config = model.config
    model_type = "qwen3" if config.qk_norm else "llama"
    scaling = config.rope_scaling
    return {
        "model_type": model_type,
        "architectures": [_ARCHITECTURES[model_type]],
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.depth,
        "hidden_size": config.width,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.feed_forward_width,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "rope_scaling": None
        if scaling is None
        else {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
            "original_max_position_embeddings": scaling.original_context_length,
        },
        "tie_word_embeddings": config.tie_embeddings,
        "hidden_act": "silu",
        "attention_bias": False,
        "torch_dtype": str(model.embedding.weight.dtype).removeprefix("torch."),
    }
