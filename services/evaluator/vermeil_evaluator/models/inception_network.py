"""The Inception network that FID is defined by: Inception-v3 of 2015-12-05, as TensorFlow ran it.

It is torchvision's Inception-v3 with 1008 outputs but for three things: means of pooling leave the padding
out, the last block pools by the greatest value, and pictures are resized without half-pixel centres. Names
are those of the weights pytorch-fid, torch-fidelity and torchmetrics use (pt_inception-2015-12-05).

Letters: B batch, C channels, H height, W width, F features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 299
"""Pixels along an edge of what the network sees."""
NUM_FEATURES = 2048
NUM_OUTPUTS = 1008

_Pool = Callable[[Tensor], Tensor]
_mean: _Pool = partial(functional.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_greatest: _Pool = partial(functional.max_pool2d, kernel_size=3, stride=1, padding=1)
_halve: _Pool = partial(functional.max_pool2d, kernel_size=3, stride=2)


@dataclass(frozen=True)
class _Conv:
    """A convolution of a branch; it keeps height and width unless it halves them."""

    name: str
    channels: int
    kernel: tuple[int, int]
    halves: bool = False

    def built(self, in_channels: int) -> "_Convolution":
        padding = (0, 0) if self.halves else (self.kernel[0] // 2, self.kernel[1] // 2)
        return _Convolution(in_channels, self.channels, self.kernel, 2 if self.halves else 1, padding)


_Step = _Pool | tuple[_Conv, ...]
"""Pooling, or a convolution; two stand side by side on the same input."""


class _Convolution(nn.Module):
    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: tuple[int, int],
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)
        self.bn.num_batches_tracked = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x_BCHW)))


class _Block(nn.Module):
    """Branches side by side, put together along the channels."""

    def __init__(self, in_channels: int, *branches: Sequence[_Step]) -> None:
        super().__init__()
        self._branches = branches
        for branch in branches:
            channels = in_channels
            for step in branch:
                if isinstance(step, tuple):
                    for conv in step:
                        self.add_module(conv.name, conv.built(channels))
                    channels = sum(conv.channels for conv in step)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.cat([self._along(branch, x_BCHW) for branch in self._branches], dim=1)

    def _along(self, branch: Sequence[_Step], x_BCHW: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, tuple):
                x_BCHW = torch.cat([self.get_submodule(conv.name)(x_BCHW) for conv in step], dim=1)
            else:
                x_BCHW = step(x_BCHW)
        return x_BCHW


def _conv(name: str, channels: int, height: int, width: int = 0, *, halves: bool = False) -> tuple[_Conv]:
    return (_Conv(name, channels, (height, width or height), halves),)


def _block_a(in_channels: int, pooled: int) -> _Block:
    return _Block(
        in_channels,
        [_conv("branch1x1", 64, 1)],
        [_conv("branch5x5_1", 48, 1), _conv("branch5x5_2", 64, 5)],
        [_conv("branch3x3dbl_1", 64, 1), _conv("branch3x3dbl_2", 96, 3), _conv("branch3x3dbl_3", 96, 3)],
        [_mean, _conv("branch_pool", pooled, 1)],
    )


def _block_b(in_channels: int) -> _Block:
    return _Block(
        in_channels,
        [_conv("branch3x3", 384, 3, halves=True)],
        [
            _conv("branch3x3dbl_1", 64, 1),
            _conv("branch3x3dbl_2", 96, 3),
            _conv("branch3x3dbl_3", 96, 3, halves=True),
        ],
        [_halve],
    )


def _block_c(in_channels: int, inner: int) -> _Block:
    return _Block(
        in_channels,
        [_conv("branch1x1", 192, 1)],
        [_conv("branch7x7_1", inner, 1), _conv("branch7x7_2", inner, 1, 7), _conv("branch7x7_3", 192, 7, 1)],
        [
            _conv("branch7x7dbl_1", inner, 1),
            _conv("branch7x7dbl_2", inner, 7, 1),
            _conv("branch7x7dbl_3", inner, 1, 7),
            _conv("branch7x7dbl_4", inner, 7, 1),
            _conv("branch7x7dbl_5", 192, 1, 7),
        ],
        [_mean, _conv("branch_pool", 192, 1)],
    )


def _block_d(in_channels: int) -> _Block:
    return _Block(
        in_channels,
        [_conv("branch3x3_1", 192, 1), _conv("branch3x3_2", 320, 3, halves=True)],
        [
            _conv("branch7x7x3_1", 192, 1),
            _conv("branch7x7x3_2", 192, 1, 7),
            _conv("branch7x7x3_3", 192, 7, 1),
            _conv("branch7x7x3_4", 192, 3, halves=True),
        ],
        [_halve],
    )


def _block_e(in_channels: int, pool: _Pool) -> _Block:
    return _Block(
        in_channels,
        [_conv("branch1x1", 320, 1)],
        [
            _conv("branch3x3_1", 384, 1),
            _conv("branch3x3_2a", 384, 1, 3) + _conv("branch3x3_2b", 384, 3, 1),
        ],
        [
            _conv("branch3x3dbl_1", 448, 1),
            _conv("branch3x3dbl_2", 384, 3),
            _conv("branch3x3dbl_3a", 384, 1, 3) + _conv("branch3x3dbl_3b", 384, 3, 1),
        ],
        [pool, _conv("branch_pool", 192, 1)],
    )


class InceptionNetwork(nn.Module):
    """Pictures to features and outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, (3, 3), 2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = _Convolution(32, 64, (3, 3), 1, (1, 1))
        self.Conv2d_3b_1x1 = _Convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = _Convolution(80, 192, (3, 3))
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b = _block_c(768, 128)
        self.Mixed_6c = _block_c(768, 160)
        self.Mixed_6d = _block_c(768, 160)
        self.Mixed_6e = _block_c(768, 192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b = _block_e(1280, _mean)
        self.Mixed_7c = _block_e(2048, _greatest)
        self.fc = nn.Linear(NUM_FEATURES, NUM_OUTPUTS)

    def features(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, F) of RGB pictures of any size, 0 … 255."""
        x_BCHW = (resized(pixels_BCHW.float(), SIDE) - 128) / 128
        for layer in (self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3):
            x_BCHW = layer(x_BCHW)
        x_BCHW = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_halve(x_BCHW)))
        x_BCHW = _halve(x_BCHW)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x_BCHW = block(x_BCHW)
        return x_BCHW.mean(dim=(2, 3))


def resized(pixels_BCHW: Tensor, side: int) -> Tensor:
    """Bilinear as TensorFlow 1 does it: target pixel i lies at i · old / new, and nothing is blurred."""
    return _along_rows(_along_rows(pixels_BCHW, side).transpose(2, 3), side).transpose(2, 3)


def _along_rows(pixels_BCHW: Tensor, side: int) -> Tensor:
    height = pixels_BCHW.shape[2]
    places = torch.arange(side, device=pixels_BCHW.device, dtype=torch.float32) * (height / side)
    low = places.long().clamp_max(height - 1)
    high = (low + 1).clamp_max(height - 1)
    lower_BCHW, upper_BCHW = pixels_BCHW[:, :, low], pixels_BCHW[:, :, high]
    return lower_BCHW + (upper_BCHW - lower_BCHW) * (places - low)[:, None]
