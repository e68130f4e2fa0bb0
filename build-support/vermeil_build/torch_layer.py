"""The layer that the images of all services that compute stand on: torch and what torch needs.

It is by far the most of such an image, so they share it: `python -m vermeil_build.torch_layer` fills its
folder while an image is built, and an image of a unit takes no package that is in there. TORCH=cpu takes
PyTorch's CPU builds, as in setup.py.
"""

import os
import sys
import tempfile
from pathlib import Path

from vermeil_build.bytecode import compile_all
from vermeil_build.packages import Packages, make_environment
from vermeil_build.pins import CUDA_ONLY, Pin, cpu_torch
from vermeil_build.setup import SetupError, run
from vermeil_build.slim import slim
from vermeil_build.tree import ROOT

FOLDER = Path("/opt/torch")
ASKED = ["torch"]


def hashed_pins(pins: list[Pin], names: set[str], torch: str) -> list[Pin]:
    """Those of these names; of a CPU build neither torch, which comes from elsewhere, nor CUDA."""
    wanted = [pin for pin in pins if pin.name in names]
    if torch != "cpu":
        return wanted
    return [pin for pin in wanted if pin.name not in ASKED and not CUDA_ONLY.match(pin.name)]


def build(root: Path, folder: Path, torch: str, work: Path) -> None:
    """Fill `folder` with an environment that has torch."""
    packages = Packages(root, work)
    names = packages.needed(ASKED)
    make_environment(folder)
    packages.install(folder, hashed_pins(packages.pins, names, torch))
    if torch == "cpu":
        of_torch = cpu_torch([pin for pin in packages.pins if pin.name in names])
        packages.install_as_told(folder, "--torch-backend", "cpu", *of_torch)
    slim(folder)
    compile_all(folder)
    run(folder / "bin/python", "-c", "import torch")  # it begins, without what was left out


def main() -> int:
    """Build; the exit code says whether it went well."""
    try:
        with tempfile.TemporaryDirectory() as work:
            build(ROOT, FOLDER, os.environ.get("TORCH", "cuda"), Path(work))
    except SetupError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
