"""Cross-attention: layers between those of a tower look at what the other has found (arXiv 2204.14198).

As in Flamingo each looks, then thinks, both behind a gate tanh(g). Shut, or where g begins at 0 as it does
there, the towers are the backbones. Text looks at given pictures before it, pictures to be drawn at the text
before them. Unusual: who has nothing to look at passes such a layer unchanged, also when its gates are open:
text without pictures stays the backbone's.

Letters: B rows, T text tokens, P patches, Q queries, S what is looked at, D width, K key/value heads, E head
width, G pictures to be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vermeil_model.attention import CausalAttention
from vermeil_model.config import require
from vermeil_model.context import Context, PatchAttention
from vermeil_model.cross_layers import CrossLayer, Look, PackedCrossLayer, Sight, View
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_memory import KEYS, VALUES, Kept, Memory, MemoryAttention
from vermeil_model.fused_model import options_of
from vermeil_model.image_sampling import Denoiser
from vermeil_model.linear import compute_dtype
from vermeil_model.opening import Opening
from vermeil_model.packed_image import PackedImageModel
from vermeil_model.packed_model import PackedModel
from vermeil_model.picture_stream import PictureStream
from vermeil_model.spans import MixedInputs, boolean_mask, spans_of
from vermeil_model.staged import Staged, ToDraw
from vermeil_model.text_form import TextForm
from vermeil_model.text_model import Before

STATES = "states"


@dataclass(frozen=True)
class CrossAttentionOptions:
    """Where the layers are."""

    every: int = 2
    """One before each layer of this number and its multiples, counted from 1."""
    start: float = 0.5
    """Of g, 0 to 10; to be opened slowly by `set_openness`. From 0, Flamingo's, pictures hardly look."""

    def __post_init__(self) -> None:
        number = isinstance(self.start, int | float) and not isinstance(self.start, bool)
        known = number and 0 <= self.start <= 10
        require(known, "options.start", self.start, "is no number of 0 to 10", "0.5 is usual.")
        whole = isinstance(self.every, int) and not isinstance(self.every, bool) and self.every >= 1
        require(whole, "options.every", self.every, "is no whole number of at least 1", "2 is usual.")


class CrossLayers(Opening):
    """Those of both towers; what they do counts as far as they are open."""

    def __init__(self, config: FusedConfig, options: CrossAttentionOptions) -> None:
        super().__init__()
        text, image = config.text, config.image
        self._every = every = options.every
        self._start = options.start
        self.text = nn.ModuleList(CrossLayer(text, image.width) for _ in range(text.depth // every))
        self.image = nn.ModuleList(CrossLayer(image.tower, text.width) for _ in range(image.depth // every))

    def learning(self, layers: nn.ModuleList) -> Sequence[Look]:
        """Those of one tower as they learn."""
        return [partial(self._opened, _of(layer)) for layer in layers]

    def packed(self, layers: nn.ModuleList) -> Sequence[Look]:
        """Those of one tower, frozen."""
        return [PackedCrossLayer(_of(layer), float(self.openness)) for layer in layers]

    def before(self, layers: Sequence[Look], view: View | None) -> Before | None:
        """What the residual stream goes through on its way to the layers of a tower."""
        if view is None:
            return None

        def look(layer: int, x_BQD: Tensor) -> Tensor:
            place, rest = divmod(layer + 1, self._every)
            if rest:
                return x_BQD
            return layers[place - 1](x_BQD, view.keys[place - 1], view.values[place - 1], view.sight)

        return look

    def _opened(self, layer: CrossLayer, x_BQD: Tensor, *seen: Any) -> Tensor:
        return torch.lerp(x_BQD, layer(x_BQD, *seen), self.openness.to(x_BQD.dtype))

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`; the gates begin as the options say."""
        for layers in (self.text, self.image):
            for layer in layers:
                assert isinstance(layer, CrossLayer)
                layer.init_weights(generator, len(layers), self._start)


class CrossAttention(Staged):
    """Towers with layers between that look across."""

    joint: CrossLayers

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self.joint = CrossLayers(config, options_of(CrossAttentionOptions, config.options))
        if not self.text.embedding.weight.is_meta:
            self.joint.init_weights(torch.Generator().manual_seed(0))

    @classmethod
    def check(cls, config: FusedConfig) -> None:
        """Towers deep enough for one such layer."""
        every = options_of(CrossAttentionOptions, config.options).every
        for name, depth in (("text", config.text.depth), ("image", config.image.depth)):
            problem = f"is more than the {depth} layers of the {name} tower"
            require(every <= depth, "options.every", every, problem, f"Use 1 to {depth}.")

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`; the gates begin as the options say."""
        super().init_weights(generator)
        self.joint.init_weights(generator)

    def gates(self) -> dict[str, Tensor]:
        """tanh(g) of the layers that look across, by tower, (N, 2): of their attention and feed-forward."""
        towers = {"text": self.joint.text, "image": self.joint.image}
        return {
            name: torch.stack([_of(layer).gate_2 for layer in layers]).tanh().detach()
            for name, layers in towers.items()
        }

    @property
    def every(self) -> int:
        """One that looks across stands before each layer of this number and its multiples, from 1."""
        return options_of(CrossAttentionOptions, self.config.options).every

    def set_openness(self, openness: float) -> None:
        """How much comes of looking across: nothing (0), or as much as the gates let through (1)."""
        self.joint.set_openness(openness)

    def write(self, inputs: MixedInputs, states_BMPD: Tensor | None) -> Tensor:
        """Text that looks at pictures."""
        dtype, num_tokens = compute_dtype(self.text.embedding.weight), inputs.tokens_BT.shape[1]
        view = None
        if states_BMPD is not None:
            visible_BTM = boolean_mask(spans_of(inputs, 1))[:, 0, :num_tokens, num_tokens:]
            sight = Sight.of(visible_BTM.repeat_interleave(states_BMPD.shape[2], 2), dtype)
            view = _view(self.joint.text, states_BMPD.flatten(1, 2), sight)
        attend = CausalAttention(inputs.text_sample_BT, dtype)
        before = self.joint.before(self.text_form().between, view)
        return self.text.transform(inputs.tokens_BT, inputs.text_position_BT.clamp_min(0), attend, before)

    def draw(self, inputs: MixedInputs, hidden_BTD: Tensor, pictures: ToDraw) -> Tensor:  # noqa: ARG002
        """Pictures that look at what was written before them."""
        sight = Sight.of(pictures.visible_GT[:, None], compute_dtype(self.image.position))
        view = _view(self.joint.image, hidden_BTD, sight)
        keys, values = ([x[pictures.rows_G] for x in part] for part in (view.keys, view.values))
        before = self.joint.before(self.joint.learning(self.joint.image), View(keys, values, sight))
        assert before is not None
        nowhere_G = torch.zeros_like(pictures.rows_G)
        stream = PictureStream(self, pictures.images_GCHW, pictures.times_G, nowhere_G)
        attend = PatchAttention(None, self.config.image.num_patches, compute_dtype(self.image.position))
        for index in range(self.config.image.depth):
            stream.x_NPD = before(index, stream.x_NPD)
            stream.step(index, attend)
        return stream.predicted()

    def text_form(self) -> TextForm:
        """What reads text, as it learns."""
        return TextForm(self.text, self.joint.learning(self.joint.text))

    def writer(self) -> TextForm:
        """A frozen form of what reads and writes text."""
        return TextForm(PackedModel(self.text), self.joint.packed(self.joint.text))

    def kept(self) -> Kept:
        """Also states of the text, which pictures look at, and what pictures show the text's layers."""
        text = self.config.text
        of_pictures = (len(self.joint.text), text.num_key_value_heads, text.head_width)
        of_text = {**super().kept().of_text, STATES: (1, text.width)}
        return Kept(of_text, {KEYS: of_pictures, VALUES: of_pictures})

    def take_text(self, memory: Memory, tokens_BT: Tensor, positions_BT: Tensor, form: TextForm) -> Tensor:
        """Write text into a memory, which does not count it yet; its normalised states, (B, T, D)."""
        text, pictures = memory.text, memory.pictures
        attend = MemoryAttention(text, tokens_BT.shape[1])
        view = None
        if pictures.longest:
            sight = Sight.of_rows(pictures.lengths, pictures.dtype, pictures.device)
            view = View(list(pictures.held(KEYS)), list(pictures.held(VALUES)), sight)
        before = self.joint.before(form.between, view)
        hidden_BTD = form.tower.transform(tokens_BT, positions_BT, attend, before)
        text.put(STATES, 0, attend.slots, hidden_BTD)
        return hidden_BTD

    def take_picture(self, memory: Memory, images_BCHW: Tensor, positions_B: Tensor) -> None:  # noqa: ARG002
        """Write a given picture into every row of a memory, which does not count it yet."""
        states_BPD = self.see(images_BCHW).states_GPD
        slots = memory.pictures.next_slots(states_BPD.shape[1])
        for index, layer in enumerate(self.joint.text):
            keys, values = _of(layer).look_at(states_BPD)
            memory.pictures.put(KEYS, index, slots, keys)
            memory.pictures.put(VALUES, index, slots, values)

    @torch.no_grad()
    def context(self, memory: Memory) -> Context:
        """Keys and values of what has been written, one a layer that looks across."""
        states_BLD = memory.text.held(STATES)[0]
        keys, values, _ = _view(self.joint.image, states_BLD, Sight(None, None))
        return Context(list(keys), list(values), memory.text.filled(), None)

    def painter(self) -> Denoiser:
        """A frozen form of the image tower with the layers that look at text."""
        layers = self.joint.packed(self.joint.image)
        return PackedImageModel(self.image, lambda context: self.joint.before(layers, _view_of(context)))

    def flops(self, num_tokens: int, num_pictures: int) -> float:
        """Operations of one row's forward pass; pictures are counted as given and as drawn."""
        total = self.tower_flops(num_tokens, num_pictures)
        num_patches = num_pictures * self.config.image.num_patches
        if num_pictures:
            total += sum(_of(layer).flops(num_tokens, num_patches) for layer in self.joint.text)
            total += sum(_of(layer).flops(num_patches, num_tokens) for layer in self.joint.image)
        return total


def _view(layers: nn.ModuleList, states_BSD: Tensor, sight: Sight) -> View:
    """What these layers make of the other tower's states."""
    keys, values = zip(*(_of(layer).look_at(states_BSD) for layer in layers), strict=True)
    return View(keys, values, sight)


def _view_of(context: Context) -> View | None:
    """What has been read, if anything has."""
    first_BLKE, visible_BL = context.keys[0], context.visible_BL
    if not first_BLKE.shape[1]:
        return None
    if visible_BL is None:
        return View(context.keys, context.values, Sight(None, None))
    return View(context.keys, context.values, Sight.of(visible_BL[:, None], first_BLKE.dtype))


def _of(layer: nn.Module) -> CrossLayer:
    assert isinstance(layer, CrossLayer)
    return layer
