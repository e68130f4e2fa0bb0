"""A few faults of the matrix, once each: the same script that runs all of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from vermeil_testing.programs import find


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_broker_and_a_registry_that_die_under_a_ride_lose_nothing(tmp_path: Path) -> None:
    for program, package in (("postgres", "postgresql"), ("redis-server", "redis-server")):
        find(program, package)
    script, results = Path(__file__).parent / "matrix.py", tmp_path / "matrix.jsonl"
    faults = ("broker:kill", "registry:kill")
    command = [sys.executable, str(script), "--only", *faults, "--results", str(results)]
    done = subprocess.run(
        [*command, "--logs", str(tmp_path)], capture_output=True, text=True, timeout=1740, check=False
    )
    assert results.exists(), done.stderr
    runs = [json.loads(line) for line in results.read_text().splitlines()]
    logs = "\n".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert all(run["struck_at"] for run in runs if run["outcome"] == "kept")
    assert [run["fault"] for run in runs if run["outcome"] == "kept"] == [*faults], f"{runs}\n{logs}"
