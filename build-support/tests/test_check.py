"""The checks run as promised: all quick ones, the tests only on clean code, one failure fails the whole."""

import re
import subprocess
from pathlib import Path

import pytest
from vermeil_build.check import Step, main, run_all, steps
from vermeil_build.tree import ROOT


def _step(name: str, tmp_path: Path, exit_status: int, *, is_quick: bool = True) -> Step:
    return Step(name, ("sh", "-c", f"touch {tmp_path / name}; exit {exit_status}"), is_quick=is_quick)


def test_one_failure_does_not_hide_another(tmp_path: Path) -> None:
    chosen = [_step("first", tmp_path, 1), _step("second", tmp_path, 0), _step("third", tmp_path, 2)]
    assert run_all(chosen, tmp_path) == ["first", "third"]
    assert (tmp_path / "second").exists()


def test_the_tests_start_on_clean_code_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [_step("lint", tmp_path, 1), _step("tests", tmp_path, 0, is_quick=False)]
    assert run_all(chosen, tmp_path) == ["lint", "tests"]
    assert not (tmp_path / "tests").exists()
    assert "tests: not started, because of: lint" in capsys.readouterr().out


def test_failing_tests_fail_the_check(tmp_path: Path) -> None:
    assert run_all([_step("tests", tmp_path, 1, is_quick=False)], tmp_path) == ["tests"]


def test_each_step_prints_its_name_and_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_all([_step("lint", tmp_path, 0)], tmp_path)
    assert re.search(r"^── lint: ok in \d+\.\d s$", capsys.readouterr().out, re.MULTILINE)


def test_an_unknown_step_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lnt"])
    message = capsys.readouterr().err
    assert "unknown step: lnt" in message
    assert "layers" in message


@pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="needs the Makefile of the checkout")
def test_every_target_of_the_makefile_is_explained() -> None:
    done = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True)
    for target in ("setup", "quickstart", "test", "check", "fmt", "protos", "pins"):
        assert f"make {target} " in done.stdout


def test_all_promised_checks_are_there() -> None:
    names = {step.name for step in steps()}
    assert names >= {"lint", "types", "layers", "sizes", "contracts-breaking", "contracts-fresh", "tests"}
