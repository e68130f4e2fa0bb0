"""Makes .venv: every pinned package with its hash, and every unit editable. Does nothing when that is done.

Runs before anything is installed, so it uses the standard library only. TORCH=cpu takes PyTorch's CPU
builds; the choice is remembered until TORCH=cuda is asked for.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from vermeil_build.pins import PINS, cpu_torch, read_pins, without_cuda
from vermeil_build.tree import ROOT, units

NEEDED_GIB = {"cuda": 9.0, "cpu": 4.0}
STAMP = "vermeil-setup"


class SetupError(Exception):
    """Setting up cannot go on; the message says what to do."""


def fingerprint(root: Path, torch: str) -> str:
    """Changes exactly when an installed environment is out of date."""
    digest = hashlib.sha256(torch.encode())
    own_files = sorted((root / "build-support" / "vermeil_build").glob("*.py"))
    for path in [root / PINS, *own_files, *(unit / "pyproject.toml" for unit in units(root))]:
        digest.update(f"\0{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return f"{torch} {digest.hexdigest()}"


def choose_torch(wanted: str, stamp: Path) -> str:
    """The flavour asked for, else the one that is installed, else the one with CUDA."""
    installed = stamp.read_text(encoding="utf-8").split()[0] if stamp.exists() else "cuda"
    torch = wanted or installed
    if torch not in NEEDED_GIB:
        msg = f"TORCH={torch} is unknown. Use TORCH=cpu or TORCH=cuda."
        raise SetupError(msg)
    return torch


def check_disk(root: Path, torch: str) -> None:
    """Refuse to begin what the disk cannot hold."""
    free = shutil.disk_usage(root).free / 2**30
    if free < NEEDED_GIB[torch]:
        hint = " or take the smaller TORCH=cpu" if torch == "cuda" else ""
        msg = (
            f"only {free:.1f} GiB are free at {root}, the packages need {NEEDED_GIB[torch]:.0f} GiB. "
            f"Free some space{hint} and run this again."
        )
        raise SetupError(msg)


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run one installation step; its own output says why it failed."""
    _checked(subprocess.run([str(part) for part in command], cwd=cwd, check=False))


def output(*command: str | Path) -> str:
    """The same of a step whose answer is wanted."""
    return str(
        _checked(
            subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
        )
    )


def _checked(done: subprocess.CompletedProcess[Any]) -> Any:
    if done.returncode != 0:
        msg = f"this step failed: {' '.join(done.args[:6])} …"
        raise SetupError(msg)
    return done.stdout


def make_environment(root: Path) -> Path:
    """An empty environment with pip and the pinned uv; gives the path of uv."""
    venv = root / ".venv"
    if not (venv / "bin" / "python").exists():
        run(sys.executable, "-m", "venv", venv)
    uv = venv / "bin" / "uv"
    if not uv.exists():
        pin = venv / "uv.txt"
        pin.write_text(next(pin.text for pin in read_pins(root / PINS) if pin.name == "uv"), encoding="utf-8")
        run(venv / "bin/python", "-m", "pip", "install", "-qq", "--require-hashes", "-r", pin)
    return uv


def install_packages(root: Path, uv: Path, torch: str) -> None:
    """Bring the environment to the pins, with hashes."""
    python = ("--python", root / ".venv/bin/python")
    if torch == "cuda":
        run(uv, "pip", "sync", "-q", *python, "--require-hashes", root / PINS)
        return
    pins = read_pins(root / PINS)
    chosen = root / ".venv" / "cpu.txt"
    chosen.write_text("".join(pin.text for pin in without_cuda(pins)), encoding="utf-8")
    run(uv, "pip", "sync", "-q", *python, "--require-hashes", chosen)
    run(uv, "pip", "install", "-q", *python, "--no-deps", "--torch-backend", "cpu", *cpu_torch(pins))


def install_units(root: Path, uv: Path) -> None:
    """Install every unit editable, so that imports, entry points and versions work; resolve nothing."""
    editables = [part for unit in units(root) for part in ("-e", unit)]
    python = root / ".venv/bin/python"
    if editables:
        run(uv, "pip", "install", "-q", "--python", python, "--no-deps", "--no-build-isolation", *editables)


def main() -> int:
    """Set up the environment of this checkout unless it is up to date."""
    stamp = ROOT / ".venv" / STAMP
    try:
        torch = choose_torch(os.environ.get("TORCH", ""), stamp)
        wanted = fingerprint(ROOT, torch)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return 0
        began = time.monotonic()
        print(f"setup: installing the pinned packages ({torch}) into .venv", file=sys.stderr)
        if not stamp.exists():
            check_disk(ROOT, torch)
        uv = make_environment(ROOT)
        install_packages(ROOT, uv, torch)
        install_units(ROOT, uv)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    stamp.write_text(wanted, encoding="utf-8")
    print(f"setup: ready in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
