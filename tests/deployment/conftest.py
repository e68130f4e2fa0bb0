"""Where the files of a deployment are, and what its variables may be called."""

import importlib
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import yaml
from vermeil_build.tree import ROOT
from vermeil_settings import Settings, describe

Objects = list[dict[str, Any]]
SERVICES = (
    "registry",
    "ingest",
    "encoders_text",
    "encoders_image",
    "trainer",
    "evaluator",
    "generator",
    "gateway",
    "demo",
)


@pytest.fixture(scope="session")
def variables() -> set[str]:
    """Names that some service reads."""
    names: set[str] = set()
    for service in SERVICES:
        module = importlib.import_module(f"vermeil_{service}.settings")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Settings):
                names |= {each.name for each in describe(value)}
    return names


@pytest.fixture(scope="session")
def kubectl() -> str:
    """The program that renders overlays, not older than what is used of it."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("needs kubectl 1.27 or newer, which brings kustomize 5")
    told = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=False)
    if "Kustomize Version: v5" not in told.stdout:
        pytest.skip(f"{program} brings no kustomize 5; needs kubectl 1.27 or newer")
    return program


@pytest.fixture(scope="session")
def rendered(kubectl: str) -> Callable[[str], Objects]:
    """Every object that `kubectl apply -k` would send of a folder."""

    @cache
    def render(folder: str) -> Objects:
        command = [kubectl, "kustomize", str(ROOT / "infra" / "kubernetes" / folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))

    return render
