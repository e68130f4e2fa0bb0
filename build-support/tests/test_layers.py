"""The import layers refuse what the house forbids; the real .importlinter judges a tree of empty packages."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
from vermeil_build.tree import ROOT

CONFIG = ROOT / ".importlinter"
pytestmark = pytest.mark.skipif(not CONFIG.exists(), reason="needs .importlinter of the checkout")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Every package of the house, empty."""
    config = configparser.ConfigParser()
    config.read(CONFIG, encoding="utf-8")
    for name in config["importlinter"]["root_packages"].split():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    return tmp_path


def _lint(house: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", str(CONFIG), "--no-cache"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
        check=False,
    )


def _add_import(house: Path, package: str, imported: str) -> None:
    (house / package / "__init__.py").write_text(f"import {imported}\n", encoding="utf-8")


def test_an_empty_house_breaks_no_rule(house: Path) -> None:
    done = _lint(house)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("package", "imported"),
    [
        ("vermeil_ingest", "vermeil_registry"),
        ("vermeil_errors", "vermeil_rpc"),
        ("vermeil_data", "vermeil_training"),
        ("vermeil_model", "vermeil_artifacts"),
        ("vermeil_gateway", "torch"),
        ("vermeil_jobs", "transformers"),
        ("vermeil_trainer", "sqlalchemy"),
    ],
)
def test_a_forbidden_import_is_refused_by_name(house: Path, package: str, imported: str) -> None:
    _add_import(house, package, imported)
    done = _lint(house)
    assert done.returncode != 0
    assert f"{package} -> {imported}" in done.stdout.replace(" is not allowed to import ", " -> ")


def test_torch_behind_another_library_is_refused_too(house: Path) -> None:
    _add_import(house, "vermeil_model", "torch")
    _add_import(house, "vermeil_gateway", "vermeil_model")
    done = _lint(house)
    assert done.returncode != 0
    assert "vermeil_gateway -> vermeil_model" in done.stdout


def test_the_local_run_may_know_every_service(house: Path) -> None:
    _add_import(house, "vermeil_local", "vermeil_registry")
    assert _lint(house).returncode == 0
