"""Which code runs."""

from pathlib import Path

import pytest
from vermeil_settings import VERSION, code_version

COMMIT = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d"


def checkout(tmp_path: Path, **files: str) -> Path:
    """A folder inside a checkout with these files in .git."""
    inside = tmp_path / "libs" / "unit"
    inside.mkdir(parents=True)
    for name, text in {"HEAD": "ref: refs/heads/main\n", **files}.items():
        file = tmp_path / ".git" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return inside


def test_a_checkout_also_tells_its_commit_wherever_git_keeps_it(tmp_path: Path) -> None:
    loose = checkout(tmp_path / "loose", **{"refs/heads/main": f"{COMMIT}\n"})
    packed = checkout(tmp_path / "packed", **{"packed-refs": f"# pack-refs\n{COMMIT} refs/heads/main\n"})
    detached = checkout(tmp_path / "detached", HEAD=f"{COMMIT}\n")
    assert {code_version(each) for each in (loose, packed, detached)} == {f"{VERSION}+g{COMMIT[:12]}"}


def test_outside_of_a_checkout_there_is_only_the_version(tmp_path: Path) -> None:
    assert code_version(tmp_path) == VERSION


def test_an_image_says_which_commit_it_was_built_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_REVISION", COMMIT)
    assert code_version(tmp_path) == f"{VERSION}+g{COMMIT[:12]}"
