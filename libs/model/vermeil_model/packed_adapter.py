"""Many adapters in one batch: what each row's adapter adds to the products of the base, W·x + s·B·A·x.

The A of all adapters that some row uses lie below one another, so that one product serves all rows; what
a row has no use for is then set to zero, and the B side by side make one product more. Nothing is merged,
so rows of the base and of any adapters share a step. Snapshots, like the packed model's matrices.

Letters: N rows, I inputs, O outputs, S the ranks of all adapters side by side.
"""
# ruff: noqa: N815

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vermeil_model.adapter import MATRICES, Adapter, AdapterConfig, Difference, difference_name
from vermeil_model.packed_model import PackedModel

_NUMBERS = itertools.count(1)


class _Part(NamedTuple):
    """Of one target in one layer."""

    narrow_SI: Tensor
    wide_SO: Tensor
    """The transpose of B, with the scale."""


class PackedAdapter:
    """An adapter ready to decode with, over a base of its sizes."""

    def __init__(self, adapter: Adapter, base: PackedModel) -> None:
        adapter.check(base.config)
        self.key = next(_NUMBERS).to_bytes(8)
        """Tells what was read with it from what was read with any other."""
        self.rank = adapter.config.rank
        self.targets = adapter.config.targets
        self.depth = base.config.depth
        scale = adapter.config.scale
        self.parts = {
            name: _Part(
                narrow_RI.to(device=base.device, dtype=base.dtype).contiguous(),
                (scale * wide_OR.float()).t().to(device=base.device, dtype=base.dtype).contiguous(),
            )
            for name, (narrow_RI, wide_OR) in adapter.differences.items()
        }
        """By layer and target."""

    def unpacked(self) -> Adapter:
        """The same for `adapted`, with the scale in B."""
        differences = {
            name: Difference(part.narrow_SI, part.wide_SO.t()) for name, part in self.parts.items()
        }
        return Adapter(AdapterConfig(self.rank, self.rank, self.targets), differences)

    @property
    def num_bytes(self) -> int:
        """Of its weights."""
        return sum(tensor.nbytes for part in self.parts.values() for tensor in part)


class _Stacked(NamedTuple):
    """One matrix in one layer, of several adapters."""

    narrow_SI: Tensor
    """Target by target, and within a target adapter by adapter."""
    wide: tuple[tuple[int, slice, Tensor], ...]
    """Of each target that any adapter has: its place in the matrix, its part of S, and its B (S, O)."""


class AdapterStack:
    """Several adapters side by side; one alone is not copied."""

    def __init__(self, adapters: Sequence[PackedAdapter]) -> None:
        self.adapters = tuple(adapters)
        depth = adapters[0].depth
        self.layers = [
            {matrix: self._stacked(layer, targets) for matrix, targets in MATRICES.items()}
            for layer in range(depth)
        ]

    def serves(self, adapters: Sequence[PackedAdapter]) -> bool:
        """Whether it holds these, and not many others."""
        return set(adapters) <= set(self.adapters) and len(self.adapters) <= 2 * len(adapters)

    def owners(self, matrix: str) -> list[int]:
        """Whose each of S is: places in `adapters`."""
        return [
            place
            for target in MATRICES[matrix]
            for place, adapter in enumerate(self.adapters)
            if target in adapter.targets
            for _ in range(adapter.rank)
        ]

    def _stacked(self, layer: int, targets: tuple[str, ...]) -> _Stacked | None:
        narrow, wide, start = [], [], 0
        for place, target in enumerate(targets):
            name = difference_name(layer, target)
            parts = [adapter.parts[name] for adapter in self.adapters if name in adapter.parts]
            if parts:
                narrow += [part.narrow_SI for part in parts]
                wide_SO = _joined([part.wide_SO for part in parts])
                wide.append((place, slice(start, start + len(wide_SO)), wide_SO))
                start += len(wide_SO)
        return _Stacked(_joined(narrow), tuple(wide)) if narrow else None


class RowAdapters:
    """Which row of a batch uses which adapter of a stack; None uses the base alone."""

    def __init__(self, stack: AdapterStack, adapters: Sequence[PackedAdapter | None]) -> None:
        self.stack = stack
        self._masks: dict[str, Tensor] = {}
        if set(adapters) == set(stack.adapters) and len(stack.adapters) == 1:
            return
        part = next(iter(stack.adapters[0].parts.values())).narrow_SI
        places = {adapter: place for place, adapter in enumerate(stack.adapters)}
        mine_N1 = torch.tensor([[-1 if each is None else places[each]] for each in adapters])
        for matrix in MATRICES:
            mask_NS = mine_N1 == torch.tensor(stack.owners(matrix))
            self._masks[matrix] = mask_NS.to(device=part.device, dtype=part.dtype)

    def add(self, matrix: str, layer: int, x_NI: Tensor, *parts_NO: Tensor) -> None:
        """Add to the products of one matrix with x, in place; `parts_NO` are those of its targets."""
        stacked = self.stack.layers[layer][matrix]
        if stacked is None:
            return
        narrow_NS = x_NI @ stacked.narrow_SI.t()
        if self._masks:
            narrow_NS *= self._masks[matrix]
        for place, columns, wide_SO in stacked.wide:
            parts_NO[place].addmm_(narrow_NS[:, columns], wide_SO)


def row_adapters(
    adapters: Sequence[PackedAdapter | None], before: RowAdapters | None = None
) -> RowAdapters | None:
    """What these rows need; None where all use the base alone.

    `before` is what rows needed a step before: its stack may serve again.
    """
    wanted = list(dict.fromkeys(each for each in adapters if each is not None))
    if not wanted:
        return None
    if before is not None and before.stack.serves(wanted):
        return RowAdapters(before.stack, adapters)
    return RowAdapters(AdapterStack(wanted), adapters)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
