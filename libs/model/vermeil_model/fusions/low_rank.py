"""Low rank: towers whose matrices are one matrix and a difference of low rank each, W + B·A.

Between `dense` (rank 0) and `mot` (full rank). A matrix is merged once a forward pass, so a token costs what
it costs in any tower. Norms are always of one modality. For serving, `untied` merges for good.

Letters: O outputs, I inputs, R rank.
"""
# ruff: noqa: N815

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vermeil_model.config import require
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_model import options_of
from vermeil_model.fusions.mot import Mot
from vermeil_model.image_model import ImageModel
from vermeil_model.initial import draw_weight
from vermeil_model.layers import Linear
from vermeil_model.linear import linear
from vermeil_model.text_model import TextModel
from vermeil_model.towers import Towers

Rank = int | Literal["full"]
MATRICES = {
    "attention": ("attention.qkv", "attention.output"),
    "feed_forward": ("feed_forward.gate_up", "feed_forward.down"),
}


@dataclass(frozen=True)
class LowRankOptions:
    """Rank of the differences, by kind of matrix: 0 shares it, "full" gives each tower its own."""

    attention: Rank = 16
    """Of what makes queries, keys and values, and of the output."""
    feed_forward: Rank = 16
    """Of both matrices of the feed-forward."""

    def __post_init__(self) -> None:
        for name in MATRICES:
            rank = getattr(self, name)
            whole = isinstance(rank, int) and not isinstance(rank, bool) and rank >= 0
            require(
                whole or rank == "full", f"options.{name}", rank, "is no rank", 'Use 0, 1, 2, … or "full".'
            )

    def ranks(self) -> dict[str, int]:
        """Of every matrix of a layer that is not of full rank."""
        given = ((getattr(self, kind), names) for kind, names in MATRICES.items())
        return {name: rank for rank, names in given if rank != "full" for name in names}


class LowRankLinear(nn.Module):
    """A matrix W + B·A, whose W belongs to somebody else."""

    base: Linear

    def __init__(self, base: Linear, rank: int) -> None:
        super().__init__()
        self.__dict__["base"] = base
        num_out, num_in = base.weight.shape
        self.wide_OR = nn.Parameter(torch.zeros(num_out, rank)) if rank else None
        self.narrow_RI = nn.Parameter(torch.zeros(rank, num_in)) if rank else None

    @property
    def weight(self) -> Tensor:
        """The whole matrix."""
        if self.wide_OR is None or self.narrow_RI is None:
            return self.base.weight
        return self.base.weight + self.wide_OR @ self.narrow_RI

    def take(self, difference: Difference) -> None:
        """Take over B and A."""
        if self.wide_OR is not None and self.narrow_RI is not None:
            self.wide_OR.copy_(difference.wide_OR)
            self.narrow_RI.copy_(difference.narrow_RI)

    def forward(self, x: Tensor) -> Tensor:
        """x · (W + B·A)ᵀ."""
        return linear(x, self.weight)


class Shared(NamedTuple):
    """One matrix of one layer."""

    name: str
    base: Linear
    text: LowRankLinear
    image: LowRankLinear


class LowRank(Towers):
    """Towers that differ by little; what they share is in `joint`."""

    joint: nn.ModuleList

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self._ranks = options_of(LowRankOptions, config.options).ranks()
        self.joint = nn.ModuleList()
        for layers in zip(self.text.layers, self.image.layers, strict=True):
            bases = nn.ModuleDict()
            for name, rank in self._ranks.items():
                base = layers[0].get_submodule(name)
                assert isinstance(base, Linear)
                bases[_key(name)] = base
                for layer in layers:
                    layer.set_submodule(name, LowRankLinear(base, rank))
            self.joint.append(bases)
        if not self.text.embedding.weight.is_meta:
            self.init_weights(torch.Generator().manual_seed(0))

    @classmethod
    def check(cls, config: FusedConfig) -> None:
        """Towers of equal heads, and of equal widths where they share a matrix."""
        super().check(config)
        options = options_of(LowRankOptions, config.options)
        if options.ranks():
            config.check_equal("width")
        if options.feed_forward != "full":
            config.check_equal("feed_forward_width")
        text = config.text
        widths = {"attention": text.num_heads * text.head_width, "feed_forward": text.feed_forward_width}
        for kind, width in widths.items():
            rank, full = getattr(options, kind), min(text.width, width)
            small = rank == "full" or rank < full
            require(small, f"options.{kind}", rank, f"is not below the full rank of {full}", 'Use "full".')

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`; the towers begin without a difference."""
        super().init_weights(generator)
        for matrix in self._shared():
            draw_weight(matrix.name, matrix.base.weight, generator, self.config.text.depth)
            for tower in (matrix.text, matrix.image):
                if tower.wide_OR is not None:
                    tower.wide_OR.zero_()

    @torch.no_grad()
    def adopt(self, text: TextModel, image: ImageModel) -> None:
        """Become the closest towers of these ranks, whose difference has twice the rank."""
        super().adopt(text, image)
        weights = self.backbone_weights(text, image)
        for index, matrix in enumerate(self._shared()):
            place = f"layers.{index // len(self._ranks)}.{matrix.name}.weight"
            ours, theirs = weights[f"text.{place}"], weights[f"image.{place}"]
            parts = split(ours.float(), theirs.float(), self._ranks[matrix.name])
            matrix.base.weight.copy_(parts.base_OI)
            matrix.text.take(parts.first)
            matrix.image.take(parts.second)

    def untied(self) -> Mot:
        """The same model with merged matrices, for serving."""
        merged = Mot(dataclasses.replace(self.config, fusion="mot", options={}))
        weights = {name: functools.reduce(getattr, name.split("."), self) for name in merged.state_dict()}
        merged.load_state_dict(weights)
        weight = self.text.embedding.weight
        return merged.to(device=weight.device, dtype=weight.dtype).train(self.training)

    def _shared(self) -> Iterator[Shared]:
        """All matrices that the towers share, layer by layer."""
        for bases, *layers in zip(self.joint, self.text.layers, self.image.layers, strict=True):
            for name in self._ranks:
                base = bases.get_submodule(_key(name))
                text, image = (layer.get_submodule(name) for layer in layers)
                assert isinstance(base, Linear)
                assert isinstance(text, LowRankLinear)
                assert isinstance(image, LowRankLinear)
                yield Shared(name, base, text, image)


class Difference(NamedTuple):
    """Of one matrix from the shared one: B·A."""

    wide_OR: Tensor
    narrow_RI: Tensor


class Split(NamedTuple):
    """Two matrices as one and a difference each."""

    base_OI: Tensor
    first: Difference
    second: Difference


def split(first_OI: Tensor, second_OI: Tensor, rank: int) -> Split:
    """W + B₁·A₁ and W + B₂·A₂, closest to the two: the largest 2·R parts of W₁ − W₂ are dealt out in turn.

    Where there are fewer, B is filled up with zeros and A with rows that can be learned on.
    """
    left_OK, sizes_K, right_KI = torch.linalg.svd(first_OI - second_OI, full_matrices=False)
    wide_OK = left_OK * sizes_K

    def dealt(start: int, sign: int) -> Difference:
        wide_OR, narrow_RI = sign * wide_OK[:, start : 2 * rank : 2], right_KI[start : 2 * rank : 2]
        missing = rank - len(narrow_RI)
        wide_OR = torch.cat((wide_OR, wide_OR.new_zeros(len(wide_OR), missing)), 1)
        return Difference(wide_OR, torch.cat((narrow_RI, right_KI[:missing])))

    first, second = dealt(0, 1), dealt(1, -1)
    rest = first_OI - first.wide_OR @ first.narrow_RI + second_OI - second.wide_OR @ second.narrow_RI
    return Split(rest / 2, first, second)


def _key(name: str) -> str:
    return name.replace(".", "_")
