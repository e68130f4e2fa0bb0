"""Whether a device multiplies bfloat16, or only emulates it."""

from functools import cache

import torch

_CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names by which x86 and Arm processors say that they multiply bfloat16."""


@cache
def multiplies_bfloat16(device_type: str) -> bool:
    """True where it has instructions for that; a CPU without them takes products tens of times slower."""
    if device_type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in _CPU_INSTRUCTIONS)
    return device_type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
