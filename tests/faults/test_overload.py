"""Too much load and a killed generator, in seconds: the same script that holds it for an hour."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_SHORT = ("--minutes", "0.25", "--step-seconds", "2", "--rates", "2", "--concurrency", "8", "--steps", "4")
_TIGHT = ("--slots", "2", "--queue", "4", "--times", "3", "--mix", "short=3,json=1")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_generator_under_too_much_load_loses_nothing_and_comes_back(tmp_path: Path) -> None:
    script = Path(__file__).parent / "overload.py"
    command = [sys.executable, str(script), *_SHORT, *_TIGHT, "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1740, check=False)
    assert (tmp_path / "overload.json").exists(), done.stderr
    found = json.loads((tmp_path / "overload.json").read_text())
    by_the_clock = ["capacity", "stood still"]
    if not found["verdict"]["the machine itself never stood still"]:
        by_the_clock += ["the registry", "the job"]  # calls end after ten seconds, and leases
    verdict = {
        what: holds
        for what, holds in found["verdict"].items()
        if not any(words in what for words in by_the_clock)
    }
    assert all(verdict.values()), {each: found[each] for each in ("verdict", "book", "others")}
    assert found["memory"].keys() >= {"services 1", "generator 1", "generator 2", "worker 1"}
