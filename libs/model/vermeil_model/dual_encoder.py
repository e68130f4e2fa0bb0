"""Pictures and captions in one space: close where they belong together.

Two towers of the layers of the text tower, every token seeing all others, mean, one matrix, unit length.
For retrieval and for finding doubles; it is no part of what generates. Unusual: pairs whose caption or
whose class is the same count as belonging together, because in small captioned data many are.

Letters: B batch, C channels, H height, W width, L caption tokens, T tokens of one side, D width,
E embedding width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from vermeil_errors import InvalidInput

from vermeil_model.attention import additive_mask, scaled_dot_product
from vermeil_model.dual_config import DualConfig
from vermeil_model.image_model import grid_waves
from vermeil_model.initial import draw_weight
from vermeil_model.layers import Block, Linear, RMSNorm
from vermeil_model.patches import check_pictures, to_patches
from vermeil_model.rotary import Rotary

FIRST_SCALE = 1 / 0.07
"""By how much similarities are multiplied before they are compared, at first; CLIP's."""
MOST_SCALE = 100.0


class Side(nn.Module):
    """One of the two encoders, from embedded tokens to a unit vector."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        tower = config.tower
        self.rotary = Rotary(tower)
        self.layers = nn.ModuleList(Block(tower) for _ in range(config.depth))
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.projection = Linear(config.width, config.embedding_width)

    def forward(self, x_BTD: Tensor, positions: Tensor, visible_BT: Tensor | None) -> Tensor:
        """(B, E), float32, of length 1."""
        dtype = x_BTD.dtype
        if torch.is_autocast_enabled(x_BTD.device.type):
            dtype = torch.get_autocast_dtype(x_BTD.device.type)
        mask = None if visible_BT is None else additive_mask(visible_BT[:, None, None], dtype)

        def attend(queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:  # noqa: ARG001
            return scaled_dot_product(queries, keys, values, mask, causal=False)

        rotation = self.rotary(positions, dtype)
        for index, layer in enumerate(self.layers):
            x_BTD = layer(x_BTD, rotation, attend, index)
        x_BTD = self.norm(x_BTD)
        if visible_BT is not None:
            seen_BT1 = visible_BT[:, :, None].to(x_BTD.dtype)
            mean_BD = (x_BTD * seen_BT1).sum(1) / seen_BT1.sum(1)
        else:
            mean_BD = x_BTD.mean(1)
        return functional.normalize(self.projection(mean_BD).float(), dim=-1)


class DualEncoder(nn.Module):
    """Both sides and how sharply they are compared; fresh ones carry the weights of seed 0."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.config = config
        num_patches = config.num_rows * config.num_columns
        self.patch_embedding = Linear(config.patch_size**2 * config.channels, config.width)
        self.position = nn.Parameter(torch.empty(num_patches, config.width))
        self.tokens = nn.Embedding(
            config.vocab_size, config.width, _weight=torch.empty(config.vocab_size, config.width)
        )
        self.image = Side(config)
        self.text = Side(config)
        self.log_scale = nn.Parameter(torch.empty(1))
        if not self.position.is_meta:
            self.init_weights(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator` (on the CPU, float32)."""
        config = self.config
        for name, parameter in self.named_parameters():
            if name == "log_scale":
                parameter.fill_(math.log(FIRST_SCALE))
            elif name == "position":
                parameter.copy_(grid_waves(config.num_rows, config.num_columns, config.width))
            else:
                draw_weight(
                    name, parameter, generator, config.depth, 1.0 if name.startswith("tokens.") else None
                )

    def forward(
        self, images_BCHW: Tensor, tokens_BL: Tensor, lengths_B: Tensor, groups_B: Tensor | None = None
    ) -> Tensor:
        """The contrastive loss of a batch of pairs."""
        return contrastive_loss(self, images_BCHW, tokens_BL, lengths_B, groups_B)

    def embed_images(self, images_BCHW: Tensor) -> Tensor:
        """Unit vectors (B, E), float32, of pictures of −1 … 1."""
        config = self.config
        check_pictures(images_BCHW, self.config, "an encoder")
        patches_BTP = to_patches(images_BCHW, config.patch_size).to(self.position.dtype)
        rows = torch.arange(config.num_rows, device=images_BCHW.device).repeat_interleave(config.num_columns)
        columns = torch.arange(config.num_columns, device=images_BCHW.device).repeat(config.num_rows)
        positions_31T = torch.stack((torch.zeros_like(rows), rows, columns))[:, None]
        vectors: Tensor = self.image(self.patch_embedding(patches_BTP) + self.position, positions_31T, None)
        return vectors

    def embed_texts(self, tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Unit vectors (B, E), float32, of captions padded on the right; each has at least one token."""
        if tokens_BL.shape[1] > self.config.context_length:
            raise InvalidInput.for_field(
                "captions",
                tokens_BL.shape[1],
                f"exceed the context of {self.config.context_length} tokens",
                "Shorten them.",
            )
        places_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
        visible_BL = places_L < lengths_B.clamp_min(1)[:, None]
        vectors: Tensor = self.text(self.tokens(tokens_BL), places_L, visible_BL)
        return vectors


def contrastive_loss(
    model: DualEncoder,
    images_BCHW: Tensor,
    tokens_BL: Tensor,
    lengths_B: Tensor,
    groups_B: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy, in nats, of finding a picture's caption in the batch and a caption's picture.

    What belongs together: equal captions and, where given, equal groups (of at least 0). Where several
    do, each has an equal share of the target.
    """
    pictures_BE, captions_BE = model.embed_images(images_BCHW), model.embed_texts(tokens_BL, lengths_B)
    with torch.autocast(pictures_BE.device.type, enabled=False):
        scale = model.log_scale.float().exp().clamp_max(MOST_SCALE)
        scores_BB = scale * pictures_BE @ captions_BE.t()
        together_BB = belong_together(tokens_BL, lengths_B, groups_B).float()
        targets_BB = together_BB / together_BB.sum(1, keepdim=True)
        by_picture = functional.cross_entropy(scores_BB, targets_BB)
        return (by_picture + functional.cross_entropy(scores_BB.t(), targets_BB)) / 2


def belong_together(tokens_BL: Tensor, lengths_B: Tensor, groups_B: Tensor | None = None) -> Tensor:
    """Which pairs of rows have the same caption or the same group, (B, B); symmetric."""
    places_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
    said_BL = tokens_BL.masked_fill(places_L >= lengths_B[:, None], -1)
    together_BB = (said_BL[:, None] == said_BL[None]).all(-1)
    if groups_B is not None:
        together_BB |= (groups_B[:, None] == groups_B[None]) & (groups_B >= 0)
    return together_BB
