"""Cross-attention: layers between those of a tower look at what the other has found (arXiv 2204.14198).

As in Flamingo each looks, then thinks, both behind a gate tanh(g). Shut, or where g begins at 0 as it does
there, the towers are the backbones. Text looks at given pictures before it, pictures to be drawn at the text
before them. Unusual: who has nothing to look at passes such a layer unchanged, also when its gates are open:
text without pictures stays the backbone's.

Letters: B rows, T text tokens, P patches, Q queries, S what is looked at, D width, K key/value heads, E head
width, G pictures to be drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vermeil_model.attention import Attend, CausalAttention, additive_mask, scaled_dot_product
from vermeil_model.config import ModelConfig, require
from vermeil_model.context import Context, PatchAttention
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_memory import Memory, MemoryAttention
from vermeil_model.fused_model import options_of
from vermeil_model.image_sampling import Denoiser
from vermeil_model.initial import draw_weight
from vermeil_model.layers import FeedForward, Linear, RMSNorm
from vermeil_model.linear import compute_dtype
from vermeil_model.opening import Opening
from vermeil_model.packed_image import PackedImageModel
from vermeil_model.picture_stream import PictureStream
from vermeil_model.spans import MixedInputs, boolean_mask, spans_of
from vermeil_model.staged import Staged, ToDraw

TEXT_KEYS, TEXT_VALUES = "text_keys", "text_values"
PICTURE_KEYS, PICTURE_VALUES = "picture_keys", "picture_values"


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


class Sight:
    """Who may look at what, (B, Q, S), Q may be 1; made for one pass."""

    def __init__(self, visible_BQS: Tensor, dtype: torch.dtype) -> None:
        seeing_BQ1 = visible_BQS.any(-1, keepdim=True)
        self.mask_B1QS = additive_mask((visible_BQS | ~seeing_BQ1)[:, None], dtype)
        self.seeing_BQ1 = seeing_BQ1.to(dtype)
        """1 where there is anything to look at, else 0."""


class View(NamedTuple):
    """What the layers of a tower look at."""

    keys: Sequence[Tensor]
    """One a layer, (B, S, K, E)."""
    values: Sequence[Tensor]
    """One a layer, (B, S, K, E)."""
    sight: Sight


class CrossLayer(nn.Module):
    """x + tanh(g₁) · attention, then x + tanh(g₂) · feed-forward. Nothing is rotated."""

    def __init__(self, tower: ModelConfig, width_seen: int) -> None:
        super().__init__()
        width, self._head_width = tower.width, tower.head_width
        self.attention_norm = RMSNorm(width, tower.norm_epsilon)
        self.query = Linear(width, tower.num_heads * tower.head_width)
        self.key_value = Linear(width_seen, 2 * tower.num_key_value_heads * tower.head_width)
        self.output = Linear(tower.num_heads * tower.head_width, width)
        self.query_norm = RMSNorm(tower.head_width, tower.norm_epsilon) if tower.qk_norm else None
        self.key_norm = RMSNorm(tower.head_width, tower.norm_epsilon) if tower.qk_norm else None
        self.feed_forward_norm = RMSNorm(width, tower.norm_epsilon)
        self.feed_forward = FeedForward(tower)
        self.gate_2 = nn.Parameter(torch.zeros(2))

    def look_at(self, states_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, S, K, E) of the other tower's states."""
        heads = self.key_value(states_BSD).unflatten(-1, (-1, self._head_width))
        keys, values = heads.chunk(2, dim=-2)
        return keys if self.key_norm is None else self.key_norm(keys), values

    def forward(self, x_BQD: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, sight: Sight) -> Tensor:
        """Same shape out."""
        attention_gate, feed_forward_gate = self.gate_2.tanh().to(x_BQD.dtype).unbind()
        queries = self.query(self.attention_norm(x_BQD)).unflatten(-1, (-1, self._head_width))
        if self.query_norm is not None:
            queries = self.query_norm(queries)
        mixed = scaled_dot_product(queries, keys_BSKE, values_BSKE, sight.mask_B1QS, causal=False)
        x_BQD = x_BQD + attention_gate * sight.seeing_BQ1 * self.output(mixed.flatten(-2))
        thought_BQD = self.feed_forward(self.feed_forward_norm(x_BQD))
        out_BQD: Tensor = x_BQD + feed_forward_gate * sight.seeing_BQ1 * thought_BQD
        return out_BQD

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator, num_layers: int, start: float) -> None:
        """Draw all weights from `generator`; g is `start`."""
        for name, weight in self.named_parameters():
            if name == "gate_2":
                weight.fill_(start)
            else:
                draw_weight(name, weight, generator, num_layers)

    def flops(self, num_queries: int, num_seen: int) -> float:
        """Operations where all queries look at all that is seen."""
        of_seen = num_seen * self.key_value.weight.numel()
        matrices = (self.query, self.output, self.feed_forward.gate_up, self.feed_forward.down)
        of_queries = num_queries * sum(matrix.weight.numel() for matrix in matrices)
        return 2.0 * (of_seen + of_queries) + 4.0 * num_queries * num_seen * self.query.weight.shape[0]


class CrossLayers(Opening):
    """Those of both towers; what they do counts as far as they are open."""

    def __init__(self, config: FusedConfig, options: CrossAttentionOptions) -> None:
        super().__init__()
        text, image = config.text, config.image
        self._every = every = options.every
        self._start = options.start
        self.text = nn.ModuleList(CrossLayer(text, image.width) for _ in range(text.depth // every))
        self.image = nn.ModuleList(CrossLayer(image.tower, text.width) for _ in range(image.depth // every))

    def before(self, layer: int, layers: nn.ModuleList, x_BQD: Tensor, view: View | None) -> Tensor:
        """The residual stream on its way to a layer of a tower."""
        place, rest = divmod(layer + 1, self._every)
        if view is None or rest:
            return x_BQD
        looked_BQD = layers[place - 1](x_BQD, view.keys[place - 1], view.values[place - 1], view.sight)
        return torch.lerp(x_BQD, looked_BQD, self.openness.to(x_BQD.dtype))

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
            sight = Sight(visible_BTM.repeat_interleave(states_BMPD.shape[2], 2), dtype)
            view = _view(self.joint.text, states_BMPD.flatten(1, 2), sight)
        attend = CausalAttention(inputs.text_sample_BT, dtype)
        return self._transform(inputs.tokens_BT, inputs.text_position_BT.clamp_min(0), attend, view)

    def _transform(
        self, tokens_BT: Tensor, positions_BT: Tensor, attend: Attend, view: View | None
    ) -> Tensor:
        text, dtype = self.text, compute_dtype(self.text.embedding.weight)
        rotation = text.rotary(positions_BT, dtype)
        x_BTD = text.embedding(tokens_BT).to(dtype)
        for index, layer in enumerate(text.layers):
            x_BTD = self.joint.before(index, self.joint.text, x_BTD, view)
            x_BTD = layer(x_BTD, rotation, attend, index)
        normalised_BTD: Tensor = text.norm(x_BTD)
        return normalised_BTD

    def draw(self, inputs: MixedInputs, hidden_BTD: Tensor, pictures: ToDraw) -> Tensor:  # noqa: ARG002
        """Pictures that look at what was written before them."""
        sight = Sight(pictures.visible_GT[:, None], compute_dtype(self.image.position))
        view = _view(self.joint.image, hidden_BTD, sight)
        keys, values = ([x[pictures.rows_G] for x in part] for part in (view.keys, view.values))
        of_rows = View(keys, values, sight)
        nowhere_G = torch.zeros_like(pictures.rows_G)
        stream = PictureStream(self, pictures.images_GCHW, pictures.times_G, nowhere_G)
        attend = PatchAttention(None, self.config.image.num_patches, compute_dtype(self.image.position))
        for index in range(self.config.image.depth):
            stream.x_NPD = self.joint.before(index, self.joint.image, stream.x_NPD, of_rows)
            stream.step(index, attend)
        return stream.predicted()

    def kept_beside(self) -> Mapping[str, Sequence[int]]:
        """Keys and values of pictures for the text's layers, and of text for the pictures'."""
        text, image = self.config.text, self.config.image
        of_pictures = (len(self.joint.text), text.num_key_value_heads, text.head_width)
        of_text = (len(self.joint.image), image.num_key_value_heads, image.head_width)
        return {
            PICTURE_KEYS: of_pictures,
            PICTURE_VALUES: of_pictures,
            TEXT_KEYS: of_text,
            TEXT_VALUES: of_text,
        }

    def take_text(self, memory: Memory, tokens_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """Write text into a memory, which does not count it yet; its normalised states, (B, T, D)."""
        places_BT, longest = memory.next_places(tokens_BT.shape[1]), memory.longest
        attend = MemoryAttention(memory, tokens_BT.shape[1], None, of_picture=False, sees_other=False)
        places_S = torch.arange(longest, device=memory.device)
        visible_BS = (places_S < places_BT[:, :1]) & memory.of_picture_BS[:, :longest]
        view = None
        if bool(visible_BS.any()):
            keys, values = (memory.beside[name][:, :, :longest] for name in (PICTURE_KEYS, PICTURE_VALUES))
            view = View(list(keys), list(values), Sight(visible_BS[:, None], keys.dtype))
        hidden_BTD = self._transform(tokens_BT, positions_BT, attend, view)
        _keep(memory, places_BT, (TEXT_KEYS, TEXT_VALUES), self.joint.image, hidden_BTD)
        return hidden_BTD

    def take_picture(self, memory: Memory, images_BCHW: Tensor, positions_B: Tensor) -> None:  # noqa: ARG002
        """Write a given picture into every row of a memory, which does not count it yet."""
        num_patches = self.config.image.num_patches
        memory.reserve(num_patches)
        states_BPD = self.see(images_BCHW).states_GPD
        places_BP = memory.next_places(num_patches)
        _keep(memory, places_BP, (PICTURE_KEYS, PICTURE_VALUES), self.joint.text, states_BPD)

    @torch.no_grad()
    def context(self, memory: Memory) -> Context:
        """Keys and values of what has been written, one a layer that looks across."""
        longest = memory.longest
        keys, values = (memory.beside[name][:, :, :longest] for name in (TEXT_KEYS, TEXT_VALUES))
        read_BL = torch.arange(longest, device=memory.device) < memory.next_places(1)
        return Context(list(keys), list(values), read_BL & ~memory.of_picture_BS[:, :longest], None)

    def painter(self) -> Denoiser:
        """A frozen form of the image tower with the layers that look at text."""
        joint = copy.deepcopy(self.joint)

        def look_at(context: Context) -> Callable[[int, Tensor], Tensor]:
            view = _view_of(context)
            return lambda layer, x_BPD: joint.before(layer, joint.image, x_BPD, view)

        return PackedImageModel(self.image, look_at)

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
        visible_BL = first_BLKE.new_ones(first_BLKE.shape[:2], dtype=torch.bool)
    return View(context.keys, context.values, Sight(visible_BL[:, None], first_BLKE.dtype))


def _keep(
    memory: Memory, places_BS: Tensor, names: tuple[str, str], layers: nn.ModuleList, states_BSD: Tensor
) -> None:
    """Put keys and values that these layers make of states into a memory."""
    for index, layer in enumerate(layers):
        for name, kept in zip(names, _of(layer).look_at(states_BSD), strict=True):
            memory.keep(name, index, places_BS, kept)


def _of(layer: nn.Module) -> CrossLayer:
    assert isinstance(layer, CrossLayer)
    return layer
