"""Reads requirements.txt, the one file of hashed pins, and leaves out what a CPU-only machine never loads."""

import re
from dataclasses import dataclass
from pathlib import Path

PINS = Path("3rdparty/python/requirements.txt")
TORCH_TRIO = ("torch", "torchvision", "torchaudio")
CUDA_ONLY = re.compile(r"^(nvidia-.*|cuda-.*|triton)$")
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


@dataclass(frozen=True)
class Pin:
    """One package of the pins file."""

    name: str
    version: str
    text: str
    """Its lines as written, with markers and hashes."""


def read_pins(file: Path) -> list[Pin]:
    """All pins in the order of the file; comments are dropped."""
    blocks: list[list[str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if _PIN.match(line):
            blocks.append([])
        blocks[-1].append(line)
    pins = []
    for block in blocks:
        match = _PIN.match(block[0])
        assert match is not None
        block[-1] = block[-1].rstrip(" \\")
        pins.append(Pin(match["name"].lower(), match["version"], "\n".join(block) + "\n"))
    return pins


def without_cuda(pins: list[Pin]) -> list[Pin]:
    """The pins that a CPU build needs from the package index; torch's own come from PyTorch's CPU index."""
    return [pin for pin in pins if not CUDA_ONLY.match(pin.name) and pin.name not in TORCH_TRIO]


def cpu_torch(pins: list[Pin]) -> list[str]:
    """Requirements for the CPU builds of the torch trio, in the same versions."""
    return [f"{pin.name}=={pin.version}+cpu" for pin in pins if pin.name in TORCH_TRIO]
