"""Byte code in images."""

import os
from pathlib import Path

import pytest
from vermeil_build.bytecode import compile_all

VALID_BY_ITSELF = (1).to_bytes(4, "little")
"""Not by a time, and without a look at the source (PEP 552)."""


def compiled(folder: Path) -> dict[str, bytes]:
    """By the name of the source."""
    return {each.name.partition(".")[0]: each.read_bytes() for each in folder.rglob("*.pyc")}


def test_files_of_another_time_give_the_same_bytes_which_stay_valid(tmp_path: Path) -> None:
    source = tmp_path / "words.py"
    source.write_text('KNOWN = "one" in {"one", "two", "three"}\n')
    compile_all(tmp_path)
    before = compiled(tmp_path)
    os.utime(source, (0, 0))
    compile_all(tmp_path)
    assert compiled(tmp_path) == before
    assert before["words"][4:8] == VALID_BY_ITSELF


def test_what_is_written_for_another_python_is_named_and_keeps_nobody_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.py").write_text("print 'of another Python'\n")
    (tmp_path / "ours.py").write_text("pass\n")
    compile_all(tmp_path)
    assert compiled(tmp_path).keys() == {"ours"}
    assert "other.py" in capfd.readouterr().out
