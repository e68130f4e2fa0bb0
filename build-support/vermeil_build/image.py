"""What a container image of one unit holds: an environment with its pinned packages and its wheels.

Runs while the image is built, with the standard library alone: `python -m vermeil_build.image UNIT FOLDER`.
Packages come with their hashes; which of the pins a unit needs, uv finds out. TORCH=cpu takes PyTorch's CPU
builds, as in setup.py.
"""

import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from vermeil_build.pins import CUDA_ONLY, PINS, TORCH_TRIO, Pin, cpu_torch, read_pins
from vermeil_build.sbom import write as write_sbom
from vermeil_build.setup import SetupError, output, run
from vermeil_build.slim import slim
from vermeil_build.tree import ROOT, units

TOOLS = ("uv", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
"""What builds wheels and installs them; it stays out of the image."""
SERVERS = ("postgres", "redis")
"""Extras of units that speak to the servers of a cluster."""
_OURS = "vermeil-"


def needed_units(asked: str, folders: dict[str, Path]) -> dict[str, Path]:
    """The unit asked for, such as "vermeil-data[digits]", and the libraries it stands on, lowest first."""
    folder = folders[asked.partition("[")[0]]
    found: dict[str, Path] = {}
    for each in _requirements(asked, folder):
        if each.startswith(_OURS):
            found |= needed_units(each, folders)
    return found | {asked: folder}


def outside_requirements(needed: dict[str, Path]) -> list[str]:
    """What these units ask of the package index."""
    asked = {each for unit, folder in needed.items() for each in _requirements(unit, folder)}
    return sorted(each for each in asked if not each.startswith(_OURS))


def _requirements(asked: str, folder: Path) -> list[str]:
    told = project(folder)
    extras = {*SERVERS, *asked.partition("[")[2].removesuffix("]").split(",")}
    of_extras = told.get("optional-dependencies", {}).items()
    return [
        *told["dependencies"],
        *(each for extra, all_of in of_extras if extra in extras for each in all_of),
    ]


def project(folder: Path) -> dict[str, Any]:
    """What pyproject.toml says of a unit."""
    told: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return told


def chosen_pins(pins: list[Pin], names: set[str], torch: str) -> list[Pin]:
    """Pins of these names; of a CPU build neither torch, which comes from elsewhere, nor CUDA."""
    left_out = TORCH_TRIO if torch == "cpu" else ()
    return [
        pin
        for pin in pins
        if pin.name in names
        and pin.name not in left_out
        and not (torch == "cpu" and CUDA_ONLY.match(pin.name))
    ]


def _write(file: Path, lines: list[str]) -> Path:
    file.write_text("".join(lines), encoding="utf-8")
    return file


def _tools(work: Path, pins: list[Pin]) -> Path:
    """An environment with what builds; gives its folder of programs."""
    run(sys.executable, "-m", "venv", work / "tools")
    wanted = _write(work / "tools.txt", [pin.text for pin in pins if pin.name in TOOLS])
    run(work / "tools/bin/python", "-m", "pip", "install", "-qq", "--require-hashes", "-r", wanted)
    return work / "tools/bin"


def build(root: Path, unit: Path, folder: Path, torch: str, work: Path) -> None:
    """Fill `folder` with an environment whose program vermeil-service runs the unit."""
    by_name = {str(project(each)["name"]): each for each in units(root)}
    name = str(project(root / unit)["name"])
    needed = needed_units(name, by_name)
    pins = read_pins(root / PINS)
    tools = _tools(work, pins)
    uv, python = tools / "uv", folder / "bin/python"
    asked = _write(work / "asked.in", [f"{each}\n" for each in outside_requirements(needed)])
    resolved = output(
        *(uv, "pip", "compile", "-q", "--no-cache", "--no-header", "--no-annotate", "--no-strip-extras"),
        *("--constraint", root / PINS, asked),
    )
    names = {line.partition("==")[0].partition("[")[0].strip().lower() for line in resolved.splitlines()}
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    chosen = _write(work / "chosen.txt", [pin.text for pin in chosen_pins(pins, names, torch)])
    install = (uv, "pip", "install", "-q", "--no-cache", "--compile-bytecode", "--python", python)
    run(*install, "--no-deps", "--require-hashes", "-r", chosen)
    if torch == "cpu":
        of_torch = [pin for pin in pins if pin.name in names]
        run(*install, "--no-deps", "--torch-backend", "cpu", *cpu_torch(of_torch))
    for each in dict.fromkeys(needed.values()):
        run(tools / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", work / "wheels", cwd=each)
    run(*install, "--no-deps", *sorted((work / "wheels").glob("*.whl")))
    slim(folder)
    package = name.replace("-", "_")
    run(python, "-c", f"import {package}.__main__")  # it begins, without what was left out
    _write_program(folder, package)
    write_sbom(name, folder)


def _write_program(folder: Path, package: str) -> None:
    lines = [
        f"#!{folder / 'bin/python'}\n",
        "import runpy\n\n",
        f'runpy.run_module("{package}", run_name="__main__", alter_sys=True)\n',
    ]
    _write(folder / "bin/vermeil-service", lines).chmod(0o755)


def main(unit: str, folder: str) -> int:
    """Build; the exit code says whether it went well."""
    if not (ROOT / unit / "pyproject.toml").is_file():
        print(f"image: UNIT = {unit}: is no unit; name a folder such as services/registry", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory() as work:
            build(ROOT, Path(unit), Path(folder), os.environ.get("TORCH", "cuda"), Path(work))
    except SetupError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
