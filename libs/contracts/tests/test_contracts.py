"""The generated code is what protos/ says, loads cleanly, and the contract cannot break unnoticed."""

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parent.parent
PROTOS = UNIT.parent.parent / "protos"
BUF = Path(sysconfig.get_path("scripts")) / "buf"

in_checkout = pytest.mark.skipif(
    not (PROTOS.is_dir() and BUF.exists()), reason="needs protos/ of the checkout and buf of the pins"
)


def _generated(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in sorted(root.glob("vermeil/**/*_pb2*"))
        if path.suffix in {".py", ".pyi"}
    }


def _buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BUF), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def copied_protos(tmp_path: Path) -> Path:
    return shutil.copytree(PROTOS, tmp_path / "protos")


def _replace(path: Path, pattern: str, replacement: str) -> None:
    before = path.read_text()
    after = re.sub(pattern, replacement, before, count=1)
    assert after != before
    path.write_text(after)


@in_checkout
def test_the_generated_code_is_fresh(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", UNIT / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(tmp_path)
    fresh, checked_in = _generated(tmp_path), _generated(UNIT)
    assert sorted(fresh) == sorted(checked_in), "run libs/contracts/generate.py"
    stale = [name for name in fresh if fresh[name] != checked_in[name]]
    assert not stale, "run libs/contracts/generate.py"


def test_every_generated_module_imports_without_a_warning() -> None:
    modules = [
        name.removesuffix(".py").replace("/", ".") for name in _generated(UNIT) if name.endswith(".py")
    ]
    assert len(modules) > 20
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *modules],
        capture_output=True,
        text=True,
        check=False,
        cwd=UNIT,
    )
    assert done.returncode == 0, done.stderr


@in_checkout
def test_the_contract_passes_its_own_lint() -> None:
    done = _buf("lint", str(PROTOS))
    assert done.returncode == 0, done.stdout


@in_checkout
def test_the_contract_keeps_its_promises_to_the_baseline() -> None:
    done = _buf("breaking", str(PROTOS), "--against", str(PROTOS / "baseline.binpb"))
    assert done.returncode == 0, done.stdout


@in_checkout
def test_a_renumbered_field_is_caught(copied_protos: Path) -> None:
    _replace(
        copied_protos / "vermeil/artifact/v1/artifact.proto", r"int64 num_bytes = 3;", "int64 num_bytes = 4;"
    )
    done = _buf("breaking", str(copied_protos), "--against", str(PROTOS / "baseline.binpb"))
    assert done.returncode != 0
    assert "num_bytes" in done.stdout


@in_checkout
def test_a_removed_rpc_is_caught(copied_protos: Path) -> None:
    _replace(copied_protos / "vermeil/job/v1/job_service.proto", r"  rpc CancelJob\(.*\n", "")
    done = _buf("breaking", str(copied_protos), "--against", str(PROTOS / "baseline.binpb"))
    assert done.returncode != 0
    assert "CancelJob" in done.stdout


@in_checkout
def test_a_field_without_a_comment_is_caught(copied_protos: Path) -> None:
    _replace(copied_protos / "vermeil/artifact/v1/artifact.proto", r"  //.*\n(  int64 num_bytes)", r"\1")
    done = _buf("lint", str(copied_protos))
    assert done.returncode != 0
    assert "num_bytes" in done.stdout


@in_checkout
def test_only_well_known_types_are_imported_from_outside() -> None:
    imports = {
        name
        for path in PROTOS.glob("vermeil/**/*.proto")
        for name in re.findall(r'^import "([^"]+)";', path.read_text(), re.MULTILINE)
    }
    assert {name for name in imports if not name.startswith(("vermeil/", "google/protobuf/"))} == set()
