"""All of continuous integration on one page: quick checks first, then the tests.

Every quick check runs even if an earlier one failed, so that one run shows everything; the tests start
only on clean code. Names of steps given as arguments select them.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vermeil_build.tree import ROOT, packages, units

# A process a core, each on one thread; who has no tests left takes the last ones of another.
_SIDE_BY_SIDE = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")


@dataclass(frozen=True)
class Step:
    """One check: a command that exits 0 if all is well."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    is_quick: bool = True


def steps(root: Path = ROOT) -> list[Step]:
    """Every check of the repository, in the order they run."""
    tool = root / ".venv" / "bin"
    python = str(tool / "python")
    sources = [str(path.relative_to(root)) for path in packages(root)]
    search_path = os.pathsep.join(str(path) for path in [*units(root), root / "build-support"])
    own_path = {"PYTHONPATH": str(root / "build-support")}
    return [
        Step("lint", (str(tool / "ruff"), "check", ".")),
        Step("format", (str(tool / "ruff"), "format", "--check", ".")),
        Step("sizes", (python, "-m", "vermeil_build.sizes"), own_path),
        Step("layers", (str(tool / "lint-imports"), "--config", ".importlinter", "--no-cache")),
        Step("contracts-lint", (str(tool / "buf"), "lint", "protos")),
        Step(
            "contracts-breaking",
            (str(tool / "buf"), "breaking", "protos", "--against", "protos/baseline.binpb"),
        ),
        Step("contracts-fresh", (python, "-m", "pytest", "-q", "libs/contracts", "-k", "fresh")),
        Step("types", (python, "-m", "mypy", *sources), {"MYPYPATH": search_path}),
        Step("tests", (python, "-m", "pytest", *_SIDE_BY_SIDE), {"OMP_NUM_THREADS": "1"}, is_quick=False),
    ]


def run(step: Step, root: Path) -> bool:
    """Run one step under its name; print how it ended and how long it took."""
    print(f"── {step.name}", flush=True)
    began = time.monotonic()
    result = subprocess.run(
        step.command, cwd=root, env={**os.environ, **step.environment}, stdin=subprocess.DEVNULL, check=False
    )
    verdict = "ok" if result.returncode == 0 else f"FAILED (exit {result.returncode})"
    print(f"── {step.name}: {verdict} in {time.monotonic() - began:.1f} s", flush=True)
    return result.returncode == 0


def run_all(chosen: Sequence[Step], root: Path) -> list[str]:
    """Run the steps; gives the names of those that failed or were left out because of that."""
    failed = [step.name for step in chosen if step.is_quick and not run(step, root)]
    for step in chosen:
        if step.is_quick:
            continue
        if failed:
            print(f"── {step.name}: not started, because of: {', '.join(failed)}", flush=True)
        if failed or not run(step, root):
            failed.append(step.name)
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen steps, or all."""
    known = steps()
    parser = argparse.ArgumentParser(prog="check", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"steps to run: {', '.join(step.name for step in known)}")
    names = parser.parse_args(arguments).names
    if unknown := set(names) - {step.name for step in known}:
        parser.error(
            f"unknown step: {', '.join(sorted(unknown))}. Known are {', '.join(s.name for s in known)}"
        )
    began = time.monotonic()
    failed = run_all([step for step in known if not names or step.name in names], ROOT)
    verdict = f"FAILED: {', '.join(failed)}" if failed else "all checks passed"
    print(f"check: {verdict} in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
