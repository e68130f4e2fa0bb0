"""Matrices as whole numbers of eight bits: one scale a row, rounded to nearest, nothing measured before.

Products round their inputs too, each row of them by its own largest value, so that an answer is the same
in any company. Files are those of compressed-tensors ("int-quantized": `weight` and `weight_scale`), the
scheme that vLLM calls W8A8 with dynamic tokens; embeddings, norms and the head stay as they were.

Letters: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from vermeil_errors import InvalidInput, Violation

from vermeil_model.int8_product import LIMIT, Int8Product, int8_product
from vermeil_model.layers import Block, Linear

QUANTIZATION = "quantization_config"
"""Key of config.json."""
_NUMBERS = {"num_bits": 8, "type": "int", "symmetric": True}
_WEIGHTS = {**_NUMBERS, "strategy": "channel", "dynamic": False}
_INPUTS = {**_NUMBERS, "strategy": "token", "dynamic": True}
_FORMAT = "int-quantized"


class Int8Linear(nn.Module):
    """A matrix without bias, and what its rows are to be multiplied with."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        weight_OI = torch.empty(num_out, num_in, dtype=torch.int8)
        self.weight = nn.Parameter(weight_OI, requires_grad=False)
        """−128 … 127."""
        self.weight_scale = nn.Parameter(torch.empty(num_out, 1), requires_grad=False)
        self._product: Int8Product | None = None

    @classmethod
    def of(cls, weight_OI: Tensor) -> Int8Linear:
        """The nearest to a matrix of floats; a row of zeros has a scale of 1."""
        made = cls(weight_OI.shape[1], weight_OI.shape[0])
        weight_OI = weight_OI.detach().float()
        largest_O1 = weight_OI.abs().amax(1, keepdim=True)
        scale_O1 = torch.where(largest_O1 > 0, largest_O1 / LIMIT, 1.0)
        made.weight = nn.Parameter((weight_OI / scale_O1).round().to(torch.int8), requires_grad=False)
        made.weight_scale = nn.Parameter(scale_O1, requires_grad=False)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x · Wᵀ for x of shape (…, I)."""
        if self._product is None:
            self._product = int8_product(self.weight, self.weight_scale)
        return self._product(x.flatten(0, -2)).view(*x.shape[:-1], -1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._product = None  # it is of the weight where it was
        return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_product": None}  # a copy makes its own

    def dequantized(self) -> Tensor:
        """The matrix as floats."""
        return self.weight * self.weight_scale


def int8_model(model: nn.Module) -> None:
    """Give a model's layers the int8 form of their matrices, in place."""
    for layer, name, linear in _matrices(model):
        layer.set_submodule(name, Int8Linear.of(linear.weight))


def make_room(model: nn.Module) -> None:
    """The same for a model that has no weights yet."""
    for layer, name, linear in _matrices(model):
        layer.set_submodule(name, Int8Linear(linear.in_features, linear.out_features))


def is_int8(model: nn.Module) -> bool:
    """Whether it has matrices of this form, which cannot learn."""
    return any(isinstance(module, Int8Linear) for module in model.modules())


def require_floats(model: nn.Module, field: str, value: str) -> None:
    """Refuse a model of this form where its weights are to change."""
    if is_int8(model):
        raise InvalidInput.for_field(
            field, value, "is in int8, which does not change", "Name the model that it was made of."
        )


def quantization_config(model: nn.Module) -> dict[str, Any]:
    """What config.json says of such a model."""
    kept = [name for name in ("embedding", "head") if getattr(model, name, None) is not None]
    group = {"targets": ["Linear"], "weights": _WEIGHTS, "input_activations": _INPUTS}
    return {
        "quant_method": "compressed-tensors",
        "format": _FORMAT,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": kept,
    }


def check_quantization(values: object, source: Path) -> None:
    """Refuse what a file says of its numbers, where it is anything but what is written here."""
    found = _told(values)
    wanted: dict[str, object] = {"quant_method": "compressed-tensors", "format": _FORMAT}
    wanted |= {f"weights.{name}": value for name, value in _WEIGHTS.items()}
    wanted |= {f"input_activations.{name}": value for name, value in _INPUTS.items()}
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InvalidInput.for_field(
                f"{QUANTIZATION}.{name}",
                found.get(name, "missing"),
                f"is not read (in {source})",
                f"only {value!r} is: int8 by rows, inputs by tokens; or load the weights it was made of",
            )


def check_int8(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Refuse weights that are no whole numbers of eight bits, and scales that scale nothing."""
    violations = []
    for name, scale_O1 in tensors.items():
        matrix, dot, last = name.rpartition(".")
        if last != "weight_scale":
            continue
        weight = tensors.get(f"{matrix}{dot}weight")
        if weight is not None and weight.dtype != torch.int8:
            kind = str(weight.dtype).removeprefix("torch.")
            violations.append(Violation(f"{matrix}.weight", f"is {kind}, and has a scale as int8 has"))
        broken = ~(scale_O1.isfinite() & (scale_O1 > 0)) if scale_O1.is_floating_point() else scale_O1 == 0
        if not scale_O1.is_floating_point() or bool(broken.any()):
            violations.append(Violation(name, f"has {int(broken.sum())} scales that are not above 0"))
    if violations:
        raise InvalidInput(
            f"the int8 weights in {source} are broken: "
            + "; ".join(f"{each.field} {each.description}" for each in violations[:8]),
            fix="Make the int8 version again.",
            violations=violations,
        )


def _told(values: object) -> dict[str, object]:
    """The fields of the one group, by their path."""
    config = values if isinstance(values, Mapping) else {}
    groups = config.get("config_groups")
    group = next(iter(groups.values())) if isinstance(groups, Mapping) and len(groups) == 1 else {}
    found = {name: config.get(name) for name in ("quant_method", "format")}
    for part in ("weights", "input_activations"):
        given = group.get(part) if isinstance(group, Mapping) else None
        found |= {f"{part}.{name}": value for name, value in dict(given or {}).items()}
    return found


def _matrices(model: nn.Module) -> list[tuple[Block, str, Linear]]:
    """All matrices of all layers."""
    return [
        (layer, name, inner)
        for layer in model.modules()
        if isinstance(layer, Block)
        for name, inner in layer.named_modules()
        if isinstance(inner, Linear)
    ]
