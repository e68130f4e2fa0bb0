"""A service and its libraries as wheels, installed alone in a clean environment, started and asked."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from vermeil_errors import VermeilError
from vermeil_rpc import connect

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
SECONDS = 120
"""Longest wait for a process to begin or to end: it loads PyTorch."""


def _units() -> dict[str, Path]:
    """Folder of every unit by the name of its distribution."""
    files = [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/**/pyproject.toml")]
    return {tomllib.loads(file.read_text())["project"]["name"]: file.parent for file in files}


def _with_libraries(name: str, units: dict[str, Path]) -> set[str]:
    project = tomllib.loads((units[name] / "pyproject.toml").read_text())["project"]
    own = [each for each in project["dependencies"] if each.startswith("vermeil-")]
    return {name}.union(*(_with_libraries(each, units) for each in own))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the generator's wheels and what they ask for, by the pins."""
    if not UV.exists():
        pytest.skip(f"needs uv beside {sys.executable}: run `make setup`")
    folder = tmp_path_factory.mktemp("alone")
    units = _units()
    names = _with_libraries("vermeil-generator", units)
    for name in sorted(names):
        copy = folder / "sources" / name
        shutil.copytree(units[name], copy, ignore=shutil.ignore_patterns("__pycache__", "results"))
        _run(
            sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheels"), cwd=copy
        )
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    wheels = sorted(str(path) for path in (folder / "wheels").glob("*.whl"))
    assert len(wheels) == len(names)
    pins = ROOT / "3rdparty" / "python" / "requirements.txt"
    python = str(folder / "venv" / "bin" / "python")
    _run(str(UV), "pip", "install", "--python", python, "--no-verify-hashes", "-c", str(pins), *wheels)
    return folder / "venv"


def _run(*command: str, cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"


@pytest.fixture
def address(environment: Path, tmp_path: Path) -> Iterator[str]:
    """A generator started from its own environment."""
    bind = f"unix:{environment.parent}/socket"  # nobody else takes it before the generator does
    variables = {"VERMEIL_HOME": str(tmp_path), "VERMEIL_BIND": bind, "PATH": os.environ["PATH"]}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment / "bin" / "python", "-m", "vermeil_generator"],
            env=variables, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield bind
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0, log.read_text()


@pytest.mark.slow
def test_the_generator_runs_alone_says_it_serves_and_lists_what(environment: Path, address: str) -> None:
    installed = {
        path.name for path in environment.glob("lib/python*/site-packages/vermeil_*") if path.is_dir()
    }
    assert not {"vermeil_registry", "vermeil_gateway", "vermeil_trainer"} & installed
    with connect(address) as channel:
        assert _health(channel) == HealthCheckResponse.SERVING
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert "vermeil.generation.v1.GenerationService" in services
    assert "grpc.health.v1.Health" in services


def _health(channel: grpc.Channel) -> HealthCheckResponse.ServingStatus.ValueType:
    request = HealthCheckRequest(service="vermeil.generation.v1.GenerationService")
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return HealthStub(channel).Check(request, timeout=SECONDS).status
        except VermeilError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
