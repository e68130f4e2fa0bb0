"""Setting up happens again exactly when something it depends on has changed."""

from pathlib import Path

import pytest
from vermeil_build import setup
from vermeil_build.pins import PINS


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in (str(PINS), "libs/errors/pyproject.toml", "services/encoders/text/pyproject.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_the_same_checkout_has_the_same_fingerprint(checkout: Path) -> None:
    assert setup.fingerprint(checkout, "cuda") == setup.fingerprint(checkout, "cuda")


@pytest.mark.parametrize(
    "name", [str(PINS), "services/encoders/text/pyproject.toml", "libs/new/pyproject.toml"]
)
def test_changed_pins_and_units_change_the_fingerprint(checkout: Path, name: str) -> None:
    before = setup.fingerprint(checkout, "cuda")
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("changed")
    assert setup.fingerprint(checkout, "cuda") != before


def test_the_torch_flavour_changes_the_fingerprint(checkout: Path) -> None:
    assert setup.fingerprint(checkout, "cuda") != setup.fingerprint(checkout, "cpu")


def test_the_installed_flavour_stays_until_another_is_asked_for(tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    assert setup.choose_torch("", stamp) == "cuda"
    stamp.write_text("cpu 0123")
    assert setup.choose_torch("", stamp) == "cpu"
    assert setup.choose_torch("cuda", stamp) == "cuda"


def test_an_unknown_flavour_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(setup.SetupError, match=r"TORCH=rocm is unknown\. Use TORCH=cpu or TORCH=cuda"):
        setup.choose_torch("rocm", tmp_path / "stamp")


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(setup.NEEDED_GIB, "cuda", 1e9)
    with pytest.raises(setup.SetupError, match=r"GiB are free .* or take the smaller TORCH=cpu"):
        setup.check_disk(tmp_path, "cuda")
