"""What a container image of one unit holds: an environment with its pinned packages and its wheels.

Runs while the image is built: `python -m vermeil_build.image UNIT FOLDER`. What needs torch finds it in the
layer below, in a folder of its own (torch_layer.py); beside what needs none is its root to be (root.py).
"""

import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from vermeil_build import root as base_root
from vermeil_build import torch_layer
from vermeil_build.bytecode import compile_all
from vermeil_build.packages import Packages, make_environment, site_packages
from vermeil_build.sbom import write as write_sbom
from vermeil_build.setup import SetupError, run
from vermeil_build.slim import slim
from vermeil_build.symbols import cut_all
from vermeil_build.tree import ROOT, units

SERVERS = ("postgres", "redis")
"""Extras of units that speak to the servers of a cluster."""
_OURS = "vermeil-"


def needed_units(asked: str, folders: dict[str, Path]) -> dict[str, Path]:
    """The unit asked for, such as "vermeil-data[loading]", and the libraries it stands on, lowest first."""
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


def build(root: Path, unit: Path, folder: Path, work: Path) -> None:
    """Fill `folder` with an environment whose program vermeil-service runs the unit."""
    by_name = {str(project(each)["name"]): each for each in units(root)}
    name = str(project(root / unit)["name"])
    needed = needed_units(name, by_name)
    packages = Packages(root, work)
    names = packages.needed(outside_requirements(needed))
    check_layer(unit, names, torch_layer.FOLDER)
    folders = [make_environment(folder)]
    if torch_layer.FOLDER.exists():
        names -= packages.needed(torch_layer.ASKED)
        folders.append(site_packages(torch_layer.FOLDER))
        (folders[0] / "torch.pth").write_text(f"{folders[1]}\n", encoding="utf-8")
    packages.install(folder, [pin for pin in packages.pins if pin.name in names])
    for each in dict.fromkeys(needed.values()):
        run(packages.python, "-m", "hatchling", "build", "-t", "wheel", "-d", work / "wheels", cwd=each)
    # Without notes of uv's on which and when these files were, for then no two images would be the same.
    wheels = sorted((work / "wheels").glob("*.whl"))
    packages.install_as_told(folder, "--no-installer-metadata", *wheels)
    slim(folder)
    cut_all(folder)
    compile_all(folder)
    package = name.replace("-", "_")
    run(folder / "bin/python", "-c", f"import {package}.__main__")  # it begins, without what was left out
    _write_program(folder, package)
    if base_root.FOLDER.exists():
        check_root(folder, base_root.FOLDER)
    write_sbom(name, folder, folders)


def check_layer(unit: Path, names: set[str], layer: Path) -> None:
    """Refuse to put torch into a layer of one service alone, or under one that never loads it."""
    if "torch" in names and not layer.exists():
        msg = f"UNIT = {unit}: needs torch, which is in a layer of its own; add --build-arg LAYER=torch"
        raise SetupError(msg)
    if "torch" not in names and layer.exists():
        msg = f"UNIT = {unit}: needs no torch; leave out --build-arg LAYER=torch"
        raise SetupError(msg)


def check_root(environment: Path, root: Path) -> None:
    """Refuse an image in which a shared object would miss one that the base has and its root has not."""
    for path in sorted(base_root.loaded(environment.rglob("*.so*"))):
        if not path.resolve().is_relative_to(environment) and not (root / path.relative_to("/")).exists():
            msg = f"{path}: packages load it, and the image's root is without it; name it in root.py"
            raise SetupError(msg)


def _write_program(folder: Path, package: str) -> None:
    file = folder / "bin/vermeil-service"
    lines = [
        f"#!{folder / 'bin/python'}\n",
        "import runpy\n\n",
        f'runpy.run_module("{package}", run_name=__name__, alter_sys=True)\n',
    ]
    file.write_text("".join(lines), encoding="utf-8")
    file.chmod(0o755)


def main(unit: str, folder: str) -> int:
    """Build; the exit code says whether it went well."""
    if not (ROOT / unit / "pyproject.toml").is_file():
        print(f"image: UNIT = {unit}: is no unit; name a folder such as services/registry", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory() as work:
            build(ROOT, Path(unit), Path(folder), Path(work))
    except SetupError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
