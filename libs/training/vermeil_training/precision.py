"""Which number format a run computes in; weights stay in float32 either way."""

from typing import Literal

import torch
from vermeil_model.bfloat16 import multiplies_bfloat16

Precision = Literal["auto", "bf16", "fp32"]


def computes_in_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether products are taken in bfloat16: "auto" says so where the device has instructions for it."""
    return precision == "bf16" or (precision == "auto" and multiplies_bfloat16(device.type))
