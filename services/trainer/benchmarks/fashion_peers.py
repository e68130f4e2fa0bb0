"""The peers of fashion.py: diffusers' DiT and UNet, each trained for so many seconds of processor time.

Both learn by flow matching with the velocity as target and times by a logit-normal (2403.03206), AdamW
with warm-up and cosine, an average of the weights, and 10 % of classes dropped for guidance. Rates go by
the part of the budget that is used up, so that both come to their end.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from torch import Tensor, nn
from vermeil_data import ImageLoader
from vermeil_model import from_pixels

NUM_CLASSES = 10
NOTHING = NUM_CLASSES
"""The class that stands for none."""
DROP, DECAY, WARM_UP = 0.1, 0.999, 0.03
TIME_SCALE = 1000.0

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noisy pictures, their times (0 noise, 1 picture) and classes → velocity."""


@dataclass(frozen=True)
class Peer:
    """A network of diffusers."""

    model: nn.Module
    learning_rate: float

    def velocity(self, noisy_BCHW: Tensor, times_B: Tensor, classes_B: Tensor) -> Tensor:
        """As trained: the direction from noise to picture."""
        steps_B = times_B * TIME_SCALE
        if isinstance(self.model, DiTTransformer2DModel):
            found: Tensor = self.model(noisy_BCHW, timestep=steps_B, class_labels=classes_B).sample
        else:
            found = self.model(noisy_BCHW, steps_B, class_labels=classes_B).sample
        return found.float()


def dit() -> Peer:
    """6 layers of 192 with AdaLN-zero, patch 4: the shape of fashion-image."""
    torch.manual_seed(0)
    model = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=48,
        in_channels=1,
        out_channels=1,
        num_layers=6,
        sample_size=28,
        patch_size=4,
        num_embeds_ada_norm=NUM_CLASSES,
        # Classes are dropped here by hand, as for the UNet.
    )
    return Peer(model, 1e-3)


def unet() -> Peer:
    """Three scales of 48, 96 and 96 channels, attention on the two smaller ones."""
    torch.manual_seed(0)
    model = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(48, 96, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=16,
        num_class_embeds=NUM_CLASSES + 1,
    )
    return Peer(model, 1e-3)


def train_peer(peer: Peer, loader: ImageLoader, cpu_seconds: float) -> tuple[Peer, int]:
    """Train until the budget is used; the averaged network and the number of steps."""
    optimizer = torch.optim.AdamW(peer.model.parameters(), peer.learning_rate, betas=(0.9, 0.99), fused=True)
    average = copy.deepcopy(peer.model).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    peer.model.train()
    steps = 0
    for used in _until(cpu_seconds):
        batch = next(loader)
        assert batch.classes_B is not None
        pictures = from_pixels(batch.pixels_BCHW)
        num = len(pictures)
        dropped = torch.rand(num, generator=generator) < DROP
        classes = batch.classes_B.masked_fill(dropped, NOTHING)
        times = torch.sigmoid(torch.randn(num, generator=generator))
        noise = torch.randn(pictures.shape, generator=generator)
        t = times.view(-1, 1, 1, 1)
        for group in optimizer.param_groups:
            group["lr"] = peer.learning_rate * _factor(used)
        with torch.autocast("cpu", torch.bfloat16):
            found = peer.velocity(t * pictures + (1 - t) * noise, times, classes)
        loss = (found - (pictures - noise)).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(peer.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps += 1
        decay = min(DECAY, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(peer.model.parameters()), 1 - decay)
    return Peer(average.eval(), peer.learning_rate), steps


@torch.inference_mode()
def sample_peer(peer: Peer, classes: Tensor, *, steps: int, guidance: float, batch: int = 100) -> Tensor:
    """Euler along the flow, guidance in one batch, as sample_images does it."""
    pictures = []
    for start in range(0, len(classes), batch):
        wanted = classes[start : start + batch]
        generator = torch.Generator().manual_seed(start)
        x = torch.randn(len(wanted), 1, 28, 28, generator=generator)
        for step in range(steps):
            times = torch.full((len(wanted),), step / steps)
            with torch.autocast("cpu", torch.bfloat16):
                if guidance == 1:
                    velocity = peer.velocity(x, times, wanted)
                else:
                    both = torch.cat((wanted, torch.full_like(wanted, NOTHING)))
                    given, free = peer.velocity(x.repeat(2, 1, 1, 1), times.repeat(2), both).chunk(2)
                    velocity = free + guidance * (given - free)
            x = x + velocity / steps
        pictures.append(x.clamp(-1, 1))
    return torch.cat(pictures)


def _factor(used: float) -> float:
    if used < WARM_UP:
        return used / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (used - WARM_UP) / (1 - WARM_UP)))


def _until(cpu_seconds: float) -> Iterator[float]:
    """The part of the budget used so far, until all of it is."""
    start = time.process_time()
    while (used := (time.process_time() - start) / cpu_seconds) < 1:
        yield used
