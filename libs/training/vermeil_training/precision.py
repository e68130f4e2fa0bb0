"""Which number format a run computes in; weights stay in float32 either way."""

from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "bf16", "fp32"]

_CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names by which x86 and Arm processors say that they multiply bfloat16."""


def computes_in_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether products are taken in bfloat16: "auto" says so where the device has instructions for it.

    A CPU without them emulates bfloat16 many times slower than it computes in float32.
    """
    return precision == "bf16" or (precision == "auto" and _has_bf16(device.type))


@cache
def _has_bf16(device_type: str) -> bool:
    if device_type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in _CPU_INSTRUCTIONS)
    return device_type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
