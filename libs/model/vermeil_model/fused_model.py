"""What every fused model is, however its towers are joined: text and pictures in, both predicted.

Reading and drawing go through a memory: what was read stays, and a picture is drawn by many steps against
it. Unusual: drawing needs no fused network. To the image tower all that was read is a condition, as a
caption would be, so the frozen form of that tower and its sampler serve here too.

Letters: B rows, T text tokens, M pictures, C channels, H height, W width, D width of the text tower,
V vocabulary, L tokens read.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from vermeil_errors import InvalidInput

from vermeil_model.config import known_fields
from vermeil_model.context import Context
from vermeil_model.cross_entropy import ReadoutLosses, readout_losses
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_memory import KEYS, VALUES, Kept, Memory, Takes
from vermeil_model.image_model import ImageModel
from vermeil_model.image_sampling import Denoiser
from vermeil_model.linear import compute_dtype
from vermeil_model.packed_model import PackedModel
from vermeil_model.patches import check_pictures
from vermeil_model.rotary import Rotary
from vermeil_model.spans import MixedInputs
from vermeil_model.text_form import TextForm
from vermeil_model.text_model import TextModel
from vermeil_model.track import LEAST_CAPACITY

GIVEN_TIME = 1.0
"""Of pictures that are given: nothing of them is noise."""
Options = TypeVar("Options")


class FusedOutput(NamedTuple):
    """What one forward pass gives."""

    hidden_BTD: Tensor  # noqa: N815
    """The normalised residual stream of the text, to be read out."""
    predicted_BMCHW: Tensor  # noqa: N815
    """The clean pictures expected in all slots, −1 … 1."""


class FusedModel(nn.Module, ABC):
    """Two towers and what joins them; fresh ones carry the weights of seed 0 until told otherwise."""

    def __init__(self, config: FusedConfig) -> None:
        super().__init__()
        self.config = config
        self.check(config)
        self.text = TextModel(config.text)
        self.image = ImageModel(config.image)
        length = config.text.context_length + config.picture_stride
        self.image.rotary = Rotary(dataclasses.replace(config.image.tower, context_length=length))
        self.joint: nn.Module = nn.Identity()

    @classmethod
    @abstractmethod
    def check(cls, config: FusedConfig) -> None:
        """Refuse towers and options that this fusion cannot join, by name."""

    @abstractmethod
    def forward(
        self,
        inputs: MixedInputs,
        images_BMCHW: Tensor,
        times_BM: Tensor,
        prompted_BM: Tensor | None = None,
    ) -> FusedOutput:
        """Rows of text and pictures, read at once.

        images are −1 … 1, those to be drawn with noise in them at their times of 0 … 1; times of given
        ones do not matter. A picture to be drawn that is not `prompted` sees nothing but itself.
        """

    def begin(self, num_rows: int, *, room: int | None = None) -> Memory:
        """A memory in which nothing has been read, with room for more rows if wanted."""
        weight = self.text.embedding.weight
        takes = Takes(self.config.image.num_patches, self.config.picture_stride)
        dtype, device = compute_dtype(weight), weight.device
        return Memory(self.kept(), takes, num_rows, dtype=dtype, device=device, room=room)

    def memory_bytes(self, num_rows: int) -> int:
        """What so many rows take that fill the context, with text or with pictures."""
        length, stride = self.config.text.context_length, self.config.picture_stride
        slots = max(length, length // stride * self.config.image.num_patches)
        return num_rows * slots * self.begin(1).num_bytes // LEAST_CAPACITY

    def kept(self) -> Kept:
        """What a memory keeps of what is read: keys and values of the text's layers, if nothing else."""
        text = self.config.text
        heads = (text.depth, text.num_key_value_heads, text.head_width)
        return Kept({KEYS: heads, VALUES: heads})

    @torch.no_grad()
    def read_text(
        self,
        memory: Memory,
        tokens_BT: Tensor,
        lengths: Sequence[int] | None = None,
        *,
        form: TextForm | None = None,
    ) -> Tensor:
        """Read on, and give logits (B, T, V); beyond `lengths` a row holds padding, which is not read."""
        form = form or self.text_form()
        return form.tower.readout(self.read_on(memory, tokens_BT, lengths, form=form))

    @torch.no_grad()
    def read_on(
        self,
        memory: Memory,
        tokens_BT: Tensor,
        lengths: Sequence[int] | None = None,
        *,
        form: TextForm | None = None,
    ) -> Tensor:
        """The same without reading out: normalised states, (B, T, D)."""
        num_tokens, last = tokens_BT.shape[1], self.config.text.context_length - 1
        lengths = [num_tokens] * len(tokens_BT) if lengths is None else list(lengths)
        self.check_positions(memory, lengths)
        positions_BT = memory.next_positions(num_tokens).clamp_max(last)
        hidden_BTD = self.take_text(memory, tokens_BT, positions_BT, form or self.text_form())
        memory.advance_text(lengths)
        return hidden_BTD

    def text_form(self) -> TextForm:
        """What reads text, as it learns."""
        return TextForm(self.text)

    def writer(self) -> TextForm:
        """A frozen form of what reads and writes text. Making it takes longer than using it once."""
        return TextForm(PackedModel(self.text))

    @torch.no_grad()
    def read_picture(self, memory: Memory, images_BCHW: Tensor) -> None:
        """Read a given picture in every row."""
        num_rows, stride = memory.num_rows, self.config.picture_stride
        self.check_positions(memory, [stride] * num_rows)
        self.take_picture(memory, images_BCHW, memory.next_positions(1)[:, 0])
        memory.advance_picture()

    @abstractmethod
    def take_text(self, memory: Memory, tokens_BT: Tensor, positions_BT: Tensor, form: TextForm) -> Tensor:
        """Write text into a memory, which does not count it yet; its normalised states, (B, T, D)."""

    @abstractmethod
    def take_picture(self, memory: Memory, images_BCHW: Tensor, positions_B: Tensor) -> None:
        """Write a given picture into every row of a memory, which does not count it yet."""

    @abstractmethod
    def context(self, memory: Memory) -> Context:
        """What a picture that is drawn next is conditioned by."""

    @abstractmethod
    def painter(self) -> Denoiser:
        """A frozen form of what draws under such contexts. Making it takes longer than using it once."""

    @abstractmethod
    def flops(self, num_tokens: int, num_pictures: int) -> float:
        """Operations of one row's forward pass; training takes three times as many."""

    def adopt(self, text: TextModel, image: ImageModel) -> None:
        """Take over the weights of two backbones; new tokens begin as the mean of the known ones."""
        own = self.state_dict().keys()
        weights = self.backbone_weights(text, image)
        self.load_state_dict({name: weights[name] for name in weights.keys() & own}, strict=False)

    def backbone_weights(self, text: TextModel, image: ImageModel) -> dict[str, Tensor]:
        """Those of two backbones by the names they have here, with room for new tokens."""
        weights = {f"text.{name}": tensor for name, tensor in text.state_dict().items()}
        num_new = self.config.text.vocab_size - text.config.vocab_size
        for name in {"text.embedding.weight", "text.head.weight"} & weights.keys():
            known_VD = weights[name]
            weights[name] = torch.cat((known_VD, known_VD.mean(0).expand(num_new, -1)))
        return weights | {f"image.{name}": tensor for name, tensor in image.state_dict().items()}

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator` (on the CPU, float32)."""
        self.text.init_weights(generator)
        self.image.init_weights(generator)

    def text_losses(
        self, hidden_BTD: Tensor, targets_BT: Tensor, importance_BT: Tensor | None = None
    ) -> ReadoutLosses:
        """Cross entropy of all text: the mean, by importance if given, and that of every token, (B · T)."""
        importance_N = None if importance_BT is None else importance_BT.flatten()
        hidden_ND, weight_VD = hidden_BTD.flatten(0, 1), self.text.readout_weight
        return readout_losses(hidden_ND, weight_VD, targets_BT.flatten(), importance_N)

    def check_inputs(self, inputs: MixedInputs, images_BMCHW: Tensor) -> None:
        """Refuse pictures of another size or number than the model's and the rows'."""
        check_pictures(images_BMCHW.flatten(0, 1), self.config.image, "a model")
        slots = tuple(inputs.picture_sample_BM.shape)
        if tuple(images_BMCHW.shape[:2]) != slots:
            raise InvalidInput.for_field(
                "images", tuple(images_BMCHW.shape[:2]), f"do not fill {slots} slots", "Give one a slot."
            )

    def check_positions(self, memory: Memory, strides: Sequence[int]) -> None:
        """Refuse to read beyond the context."""
        end = max((p + s for p, s in zip(memory.positions, strides, strict=True)), default=0)
        if end > self.config.text.context_length:
            raise InvalidInput.for_field(
                "tokens",
                end,
                f"exceed the context of {self.config.text.context_length} positions",
                "Begin a new conversation, or use a model with a longer context.",
            )

    def picture_positions(self, positions_N: Tensor) -> Tensor:
        """Rotary positions of the patches of N pictures whose first patch is at these, (3, N, P)."""
        return self.image.patch_positions() + positions_N.clamp_min(0)[:, None]


def options_of(cls: type[Options], options: Mapping[str, Any]) -> Options:
    """The options of a fusion; unknown ones are refused by name."""
    return cls(**known_fields(cls, options, "options", prefix="options."))
