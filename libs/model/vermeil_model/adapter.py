"""Low-rank adapters (LoRA) of a text tower: W + s·B·A, where W is the base's and stays as it is.

`AdaptedModel` learns one, `merged` makes it a model of its own, `packed_adapter.py` decodes with many
at once. Matrices go by the names of Llama checkpoints, where queries, keys and values are three: an A
and a B each. Unusual beside `fusions/low_rank.py`, whose base learns too and is therefore merged once a
step: here products go past the base, so that no gradient of a whole matrix is ever computed.

Letters: O outputs, I inputs, R rank, S the ranks of several parts side by side.
"""
# ruff: noqa: N815

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from vermeil_errors import InvalidInput, Violation

from vermeil_model.config import ModelConfig, require, require_positive_integer
from vermeil_model.int8 import Int8Linear, require_floats
from vermeil_model.layers import Linear
from vermeil_model.linear import linear
from vermeil_model.llama_names import LAYER_NAMES, row_counts
from vermeil_model.text_model import ModelOutput, TextModel

MATRICES: Mapping[str, tuple[str, ...]] = {
    ours: tuple(name.rpartition(".")[2] for name in theirs)
    for ours, theirs in LAYER_NAMES.items()
    if not ours.endswith("norm")
}
"""Our matrices of a layer → the parts of each, from the first row down."""
TARGETS: Mapping[str, tuple[str, ...]] = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "feed_forward": ("gate_proj", "up_proj", "down_proj"),
}
ALL_TARGETS = TARGETS["attention"] + TARGETS["feed_forward"]


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter changes, and by how much."""

    rank: int = 8
    """Of every difference."""
    alpha: float = 16.0
    """Differences count alpha / rank times."""
    targets: tuple[str, ...] = ALL_TARGETS
    """The matrices it changes in every layer."""

    def __post_init__(self) -> None:
        require_positive_integer("rank", self.rank, "Use 1 or more; 8 is usual.")
        require(self.alpha > 0, "alpha", self.alpha, "is not above 0", "Use twice the rank.")
        require(bool(self.targets), "targets", None, "are none", f"Name some of {', '.join(ALL_TARGETS)}.")
        for name in self.targets:
            known = f"Known are {', '.join(ALL_TARGETS)}."
            require(name in ALL_TARGETS, "targets", name, "is no matrix of a layer", known)

    @property
    def scale(self) -> float:
        """How many times differences count."""
        return self.alpha / self.rank

    def full_rank(self, base: ModelConfig) -> int:
        """The smallest size of a matrix that it changes; from there on, a rank is not low."""
        shapes = target_shapes(base)
        return min(min(shapes[target]) for target in self.targets)


class Difference(NamedTuple):
    """What an adapter adds to one matrix, but for the scale: B·A."""

    narrow_RI: Tensor
    """A."""
    wide_OR: Tensor
    """B."""


@dataclass(frozen=True)
class Adapter:
    """An adapter on its own, away from its base."""

    config: AdapterConfig
    differences: Mapping[str, Difference]
    """By layer and target: "layers.0.q_proj"."""
    base: str = ""
    """The model that it was trained over, by name; empty where nobody said."""

    @property
    def num_parameters(self) -> int:
        """Its weights."""
        return sum(part.numel() for difference in self.differences.values() for part in difference)

    def check(self, base: ModelConfig) -> None:
        """Refuse a base of other sizes, by the name of every difference that does not fit."""
        shapes = target_shapes(base)
        rank = self.config.rank
        expected = {
            difference_name(layer, target): ((rank, shapes[target][1]), (shapes[target][0], rank))
            for layer in range(base.depth)
            for target in self.config.targets
        }
        found = {
            name: (tuple(a_RI.shape), tuple(b_OR.shape)) for name, (a_RI, b_OR) in self.differences.items()
        }
        violations = [
            Violation(name, f"is of shape {found.get(name)}, the base needs {expected.get(name)}")
            for name in sorted(expected.keys() | found.keys())
            if found.get(name) != expected.get(name)
        ]
        if violations:
            first = violations[0]
            raise InvalidInput(
                f"the adapter does not fit its base: {first.field} {first.description}"
                + (f"; and {len(violations) - 1} more" if len(violations) > 1 else ""),
                fix="Use the base that it was trained over.",
                violations=violations,
            )


def difference_name(layer: int, target: str) -> str:
    """The name of a difference."""
    return f"layers.{layer}.{target}"


def target_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of every target."""
    heads_width = config.num_heads * config.head_width
    inputs = {"attention.output": heads_width, "feed_forward.down": config.feed_forward_width}
    shapes = {}
    for matrix, targets in MATRICES.items():
        rows = row_counts(matrix, config) or [config.width]
        for target, num_out in zip(targets, rows, strict=True):
            shapes[target] = num_out, inputs.get(matrix, config.width)
    return shapes


class LearnedDifference(nn.Module):
    """A and B of one part of a matrix."""

    def __init__(self, num_in: int, num_out: int, rank: int) -> None:
        super().__init__()
        self.narrow_RI = nn.Parameter(torch.zeros(rank, num_in))
        self.wide_OR = nn.Parameter(torch.zeros(num_out, rank))


class AdaptedLinear(nn.Module):
    """x · Wᵀ + s · (x · Aᵀ) · Bᵀ, where rows of W have differences of their own, or none."""

    def __init__(self, base: Linear | Int8Linear, rows: Mapping[str, int], config: AdapterConfig) -> None:
        super().__init__()
        self.base = base
        self._rows = dict(rows)
        self._scale = config.scale
        num_in = base.weight.shape[1]
        self.parts = nn.ModuleDict(
            {
                target: LearnedDifference(num_in, num_out, config.rank)
                for target, num_out in rows.items()
                if target in config.targets
            }
        )

    @property
    def weight(self) -> Tensor:
        """The whole matrix, merged."""
        narrow_SI, wide_OS = self._joined()
        weight_OI = self.base.weight if isinstance(self.base, Linear) else self.base.dequantized()
        return weight_OI + wide_OS @ narrow_SI

    def forward(self, x: Tensor) -> Tensor:
        """As above."""
        narrow_SI, wide_OS = self._joined()
        added: Tensor = self.base(x) + linear(linear(x, narrow_SI), wide_OS)
        return added

    def _joined(self) -> Difference:
        """All parts as one difference: A below one another, B in blocks, the scale in B."""
        parts = {target: part for target, part in self.parts.items() if isinstance(part, LearnedDifference)}
        narrow_SI = torch.cat([part.narrow_RI for part in parts.values()])
        blocks = [
            self._scale * parts[target].wide_OR if target in parts else narrow_SI.new_zeros(num_out, 0)
            for target, num_out in self._rows.items()
        ]
        wide_OS: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        return Difference(narrow_SI, wide_OS)


class AdaptedModel(nn.Module):
    """A text model that learns an adapter and nothing else; until then it computes what its base does.

    It takes the base over, whose matrices it surrounds.
    """

    def __init__(self, base: TextModel, config: AdapterConfig) -> None:
        super().__init__()
        full = config.full_rank(base.config)
        problem = f"is not below {full}, the smallest size of a matrix"
        require(config.rank < full, "rank", config.rank, problem, "Use a smaller rank; 8 is usual.")
        self.adapter_config = config
        self.text = base.requires_grad_(False)
        weight = base.embedding.weight
        for layer, matrix, targets in _matrices(base.config, config.targets):
            block = base.layers[layer]
            inner = block.get_submodule(matrix)
            assert isinstance(inner, Linear | Int8Linear)
            rows = row_counts(matrix, base.config) or [base.config.width]
            adapted = AdaptedLinear(inner, dict(zip(targets, rows, strict=True)), config)
            adapted.parts.to(weight)
            block.set_submodule(matrix, adapted)
        self.init_weights(torch.Generator().manual_seed(0))

    @classmethod
    def of(cls, base: TextModel, adapter: Adapter) -> Self:
        """The base with a finished adapter, to learn on or to look at."""
        adapter.check(base.config)
        model = cls(base, adapter.config)
        with torch.no_grad():
            for name, learned in model.learned():
                learned.narrow_RI.copy_(adapter.differences[name].narrow_RI)
                learned.wide_OR.copy_(adapter.differences[name].wide_OR)
        return model

    @property
    def config(self) -> ModelConfig:
        """Sizes of the base."""
        return self.text.config

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw A from `generator` (on the CPU, float32); B is zero, so there is no difference yet."""
        for _, learned in self.learned():
            bound = learned.narrow_RI.shape[1] ** -0.5
            drawn = torch.empty(learned.narrow_RI.shape).uniform_(-bound, bound, generator=generator)
            learned.narrow_RI.copy_(drawn)
            learned.wide_OR.zero_()

    def forward(
        self, tokens_BT: Tensor, *, targets_BT: Tensor | None = None, documents_BT: Tensor | None = None
    ) -> ModelOutput:
        """As of `TextModel`."""
        output: ModelOutput = self.text(tokens_BT, targets_BT=targets_BT, documents_BT=documents_BT)
        return output

    def adapter(self, base: str = "") -> Adapter:
        """What was learned, as it stands; `base` names the model it was learned over."""
        differences = {
            name: Difference(learned.narrow_RI.detach(), learned.wide_OR.detach())
            for name, learned in self.learned()
        }
        return Adapter(self.adapter_config, differences, base)

    def learned(self) -> Iterator[tuple[str, LearnedDifference]]:
        """Every difference by its name."""
        for layer, matrix, targets in _matrices(self.config, self.adapter_config.targets):
            adapted = self.text.layers[layer].get_submodule(matrix)
            assert isinstance(adapted, AdaptedLinear)
            for target in targets:
                if target in adapted.parts:
                    learned = adapted.parts[target]
                    assert isinstance(learned, LearnedDifference)
                    yield difference_name(layer, target), learned


def adapted(base: TextModel, adapter: Adapter) -> TextModel:
    """The base with an adapter in it; the weights of the base are not copied, but shared."""
    shared = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    return AdaptedModel.of(copy.deepcopy(base, shared), adapter).text


@torch.no_grad()
def merged(base: TextModel, adapter: Adapter) -> TextModel:
    """A text model with the weights W + s·B·A; the base stays as it is."""
    adapter.check(base.config)
    require_floats(base, "base", adapter.base)
    model = copy.deepcopy(base)
    for layer, matrix, targets in _matrices(base.config, adapter.config.targets):
        weight = model.layers[layer].get_submodule(matrix).get_parameter("weight")
        rows = row_counts(matrix, base.config) or [base.config.width]
        for target, part_OI in zip(targets, torch.split(weight, rows), strict=True):
            difference = adapter.differences.get(difference_name(layer, target))
            if difference is not None:
                narrow_RI, wide_OR = (each.to(part_OI) for each in difference)
                part_OI.addmm_(wide_OR, narrow_RI, alpha=adapter.config.scale)
    return model


def _matrices(config: ModelConfig, targets: Iterable[str]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Layer, name and parts of every matrix of which some part is a target."""
    wanted = set(targets)
    for layer in range(config.depth):
        for matrix, parts in MATRICES.items():
            if wanted.intersection(parts):
                yield layer, matrix, parts
