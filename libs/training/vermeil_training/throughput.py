"""How fast a run is, against what the machine could do: model FLOPs utilisation (MFU).

The peak of a known accelerator is its data sheet's dense bf16 rate; of anything else it is measured
once with a square matrix product. On a busy CPU the measured peak is what others leave over.
"""

import time
from collections.abc import Callable
from functools import lru_cache

import torch

PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
}
"""Part of the device's name → dense bf16 operations per second."""

_SIDE = 1024
_REPEATS = 5


@lru_cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second the device can do in matrix products of this type."""
    if device.type == "cuda" and dtype is torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        for part, peak in PEAKS.items():
            if part in name:
                return peak
    return measured_gemm(device, dtype)


def measured_gemm(device: torch.device, dtype: torch.dtype, side: int = _SIDE) -> float:
    """Operations per second of the quickest of a few square matrix products."""
    matrix = torch.full((side, side), 0.5, device=device, dtype=dtype)
    seconds = min(_timed(lambda: matrix @ matrix, device) for _ in range(_REPEATS + 1))
    return 2 * side**3 / seconds


def _timed(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
