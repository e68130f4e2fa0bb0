"""A model as a folder: config.json and model.safetensors, in the layout Hugging Face tools know.

`model_type` in config.json says which network it is; KINDS lists those known. Weights are stored under
the network's name ("text.", "image."), so that towers keep their own names when they are joined.
Optimizer state, tokenizers and model cards are other people's files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn
from vermeil_errors import InvalidInput

from vermeil_model.config import ModelConfig
from vermeil_model.dual_config import DualConfig
from vermeil_model.dual_encoder import DualEncoder
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_model import FusedModel
from vermeil_model.fusions import make_fused
from vermeil_model.image_classifier import ClassifierConfig, ImageClassifier
from vermeil_model.image_config import ImageConfig
from vermeil_model.image_model import ImageModel
from vermeil_model.int8 import (
    QUANTIZATION,
    check_int8,
    check_quantization,
    is_int8,
    make_room,
    quantization_config,
)
from vermeil_model.rotary import Rotary
from vermeil_model.tensor_files import (
    WEIGHTS_FILE,
    TensorFiles,
    check_tensors,
    read_json,
    write_json,
    write_tensors,
)
from vermeil_model.text_model import TextModel
from vermeil_model.unfilled import unfilled

CONFIG_FILE = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
"""Of folders that hold no model, but what changes one."""
MODEL_TYPE = "vermeil"
FORMAT_VERSION = 1

AnyModel = TextModel | ImageModel | DualEncoder | ImageClassifier | FusedModel
AnyConfig = ModelConfig | ImageConfig | DualConfig | ClassifierConfig | FusedConfig
Model = TypeVar("Model", TextModel, ImageModel, DualEncoder, ImageClassifier, FusedModel)
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Kind:
    """A network that checkpoints may hold."""

    model_type: str
    """Of config.json."""
    architecture: str
    """Of config.json: the class that other tools would load."""
    name: str
    """Section of config.json."""
    prefix: str
    """Of the names of the weights."""
    model: type[nn.Module]
    make: Callable[[Any], AnyModel]
    config: type[AnyConfig]


KINDS = (
    Kind(MODEL_TYPE, "VermeilForConditionalGeneration", "text", "text.", TextModel, TextModel, ModelConfig),
    Kind("vermeil-image", "VermeilImageModel", "image", "image.", ImageModel, ImageModel, ImageConfig),
    Kind("vermeil-dual", "VermeilDualEncoder", "dual", "dual.", DualEncoder, DualEncoder, DualConfig),
    Kind(
        "vermeil-classifier",
        "VermeilImageClassifier",
        "classifier",
        "classifier.",
        ImageClassifier,
        ImageClassifier,
        ClassifierConfig,
    ),
    Kind("vermeil-fused", "VermeilFusedModel", "fused", "", FusedModel, make_fused, FusedConfig),
)


def save_checkpoint(folder: Path, model: AnyModel, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write the model; each file is there whole or not at all.

    `extra` joins config.json at the top level: bos_token_id, class_names and the like.
    """
    values = written_fields(model)
    clash = sorted(values.keys() & (extra or {}).keys())
    if clash:
        raise InvalidInput.for_field(
            "extra", clash[0], "is written by the checkpoint itself", "Leave it out."
        )
    prefix = _kind_of(type(model)).prefix
    tensors = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    write_tensors(folder / WEIGHTS_FILE, tensors)
    write_json(folder / CONFIG_FILE, values | dict(extra or {}))


def written_fields(model: AnyModel) -> dict[str, Any]:
    """What config.json says of the model itself."""
    kind = _kind_of(type(model))
    values: dict[str, Any] = {
        "model_type": kind.model_type,
        "architectures": [kind.architecture],
        "format_version": FORMAT_VERSION,
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        kind.name: model.config.to_dict(),
    }
    return values | ({QUANTIZATION: quantization_config(model)} if is_int8(model) else {})


@overload
def load_checkpoint(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> TextModel: ...


@overload
def load_checkpoint(
    folder: Path,
    expected: type[Model],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Model: ...


def load_checkpoint(
    folder: Path,
    expected: Any = TextModel,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> AnyModel:
    """The model that `save_checkpoint` wrote, ready to evaluate, in its own dtype unless told otherwise.

    A checkpoint of another network than `expected` is refused.
    """
    read_config(folder, expected)
    return load_any_checkpoint(folder, dtype=dtype, device=device)


def load_any_checkpoint(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> AnyModel:
    """Whatever network the folder holds."""
    kind, config = _read(folder)
    files = TensorFiles(folder)
    tensors = {name: files.read(name) for name in files.names}
    quantization = read_json(folder / CONFIG_FILE).get(QUANTIZATION)
    with unfilled():
        model = kind.make(config)
    if quantization is not None:
        check_quantization(quantization, folder / CONFIG_FILE)
        check_int8(tensors, folder)
        make_room(model)
    return fill_model(model, tensors, kind.prefix, source=folder, dtype=dtype, device=device)


@overload
def read_config(folder: Path) -> ModelConfig: ...


@overload
def read_config(folder: Path, expected: type[TextModel]) -> ModelConfig: ...


@overload
def read_config(folder: Path, expected: type[ImageModel]) -> ImageConfig: ...


@overload
def read_config(folder: Path, expected: type[DualEncoder]) -> DualConfig: ...


@overload
def read_config(folder: Path, expected: type[ImageClassifier]) -> ClassifierConfig: ...


@overload
def read_config(folder: Path, expected: type[FusedModel]) -> FusedConfig: ...


def read_config(folder: Path, expected: Any = TextModel) -> AnyConfig:
    """The config of a checkpoint folder; one of another network than `expected` is refused."""
    kind, config = _read(folder)
    if kind.model is not expected:
        wanted = _kind_of(expected)
        raise InvalidInput.for_field(
            "model_type",
            kind.model_type,
            f"is another architecture than {wanted.model_type!r} (in {folder / CONFIG_FILE})",
            f"Give a folder that holds {wanted.name} weights.",
        )
    return config


def read_any_config(folder: Path) -> AnyConfig:
    """The config of whatever network the folder holds."""
    return _read(folder)[1]


def fill_model(
    model: Network,
    tensors: Mapping[str, Tensor],
    prefix: str,
    *,
    source: Path,
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> Network:
    """Give a model that was made `unfilled` these tensors as its weights; ready to evaluate."""
    expected = {prefix + name: tensor.shape for name, tensor in model.state_dict().items()}
    check_tensors({name: tensor.shape for name, tensor in tensors.items()}, expected, source)
    first = prefix + next(iter(model.state_dict()))
    dtype = dtype or tensors[first].dtype
    weights = {
        name.removeprefix(prefix): tensor.to(device)
        if name.endswith("weight_scale") or not tensor.is_floating_point()
        else tensor.to(device=device, dtype=dtype)
        for name, tensor in tensors.items()
    }
    model.load_state_dict(weights, assign=True)
    for module in model.modules():
        if isinstance(module, Rotary):
            module.reset(torch.device(device))
    return model.eval()


def _read(folder: Path) -> tuple[Kind, AnyConfig]:
    if (folder / ADAPTER_CONFIG).is_file():
        raise InvalidInput.for_field(
            "model", str(folder), "is an adapter, which is nothing without its base", "Load it over its base."
        )
    values = read_json(folder / CONFIG_FILE)
    model_type = values.get("model_type")
    kind = next((kind for kind in KINDS if kind.model_type == model_type), None)
    if kind is None:
        known = ", ".join(repr(kind.model_type) for kind in KINDS)
        raise InvalidInput.for_field(
            "model_type",
            model_type,
            f"is another architecture than {known} (in {folder / CONFIG_FILE})",
            "Read Llama and Qwen3 checkpoints with import_llama.",
        )
    version = values.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise InvalidInput.for_field(
            "format_version", version, "is not known to this version of Vermeil", "Update Vermeil."
        )
    return kind, kind.config.from_dict(values.get(kind.name, {}))


def _kind_of(model: type[nn.Module]) -> Kind:
    return next(kind for kind in KINDS if issubclass(model, kind.model))
