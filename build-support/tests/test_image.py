"""What goes into an image of a unit, and what stays out."""

from pathlib import Path

import pytest
from vermeil_build.image import check_layer, main, needed_units, outside_requirements
from vermeil_build.pins import Pin
from vermeil_build.setup import SetupError
from vermeil_build.torch_layer import hashed_pins


def _unit(root: Path, name: str, dependencies: list[str], extras: str = "") -> Path:
    folder = root / name
    folder.mkdir()
    text = f'[project]\nname = "{name}"\ndependencies = {dependencies}\n{extras}'
    (folder / "pyproject.toml").write_text(text)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A service, the libraries it stands on, and one it does not."""
    units = {
        "vermeil-errors": ["grpcio"],
        "vermeil-jobs": ["vermeil-errors", "celery"],
        "vermeil-model": ["vermeil-errors", "torch"],
    }
    made = {name: _unit(tmp_path, name, asked) for name, asked in units.items()}
    extras = '[project.optional-dependencies]\npostgres = ["psycopg[binary]"]\nbench = ["matplotlib"]\n'
    made["vermeil-registry"] = _unit(tmp_path, "vermeil-registry", ["vermeil-jobs", "sqlalchemy"], extras)
    return made


def test_an_image_holds_its_unit_and_the_libraries_below_it(folders: dict[str, Path]) -> None:
    needed = list(needed_units("vermeil-registry", folders))
    assert needed == ["vermeil-errors", "vermeil-jobs", "vermeil-registry"]


def test_what_speaks_to_servers_comes_along_and_what_measures_does_not(folders: dict[str, Path]) -> None:
    asked = outside_requirements(needed_units("vermeil-registry", folders))
    assert asked == ["celery", "grpcio", "psycopg[binary]", "sqlalchemy"]


def test_a_library_brings_the_extra_it_is_asked_with(tmp_path: Path) -> None:
    extras = '[project.optional-dependencies]\ndigits = ["scikit-learn"]\nbench = ["matplotlib"]\n'
    folders = {
        "vermeil-data": _unit(tmp_path, "vermeil-data", ["numpy"], extras),
        "vermeil-jobs": _unit(tmp_path, "vermeil-jobs", ["vermeil-data"]),
        "vermeil-ingest": _unit(tmp_path, "vermeil-ingest", ["vermeil-jobs", "vermeil-data[digits]"]),
    }
    needed = needed_units("vermeil-ingest", folders)
    assert set(needed.values()) == set(folders.values())
    assert outside_requirements(needed) == ["numpy", "scikit-learn"]


def test_pins_keep_their_hashes_and_a_cpu_build_leaves_cuda_out() -> None:
    names = ("torch", "nvidia-cublas", "numpy", "gradio")
    pins = [Pin(name, "1", f"{name}==1 --hash=sha256:00\n") for name in names]
    wanted = {"torch", "nvidia-cublas", "numpy"}
    assert [pin.name for pin in hashed_pins(pins, wanted, "cuda")] == ["torch", "nvidia-cublas", "numpy"]
    assert [pin.text for pin in hashed_pins(pins, wanted, "cpu")] == ["numpy==1 --hash=sha256:00\n"]


def test_torch_is_in_the_layer_of_those_who_need_it_and_of_nobody_else(tmp_path: Path) -> None:
    missing = tmp_path / "torch"
    check_layer(Path("services/trainer"), {"torch", "numpy"}, tmp_path)
    check_layer(Path("services/registry"), {"numpy"}, missing)
    with pytest.raises(SetupError, match=r"services/trainer: needs torch.* add --build-arg LAYER=torch"):
        check_layer(Path("services/trainer"), {"torch", "numpy"}, missing)
    with pytest.raises(SetupError, match=r"services/registry: needs no torch; leave out .*LAYER=torch"):
        check_layer(Path("services/registry"), {"numpy"}, tmp_path)


def test_a_unit_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("services/registy", "/tmp/nowhere") == 1
    assert "UNIT = services/registy: is no unit; name a folder such as services/registry" in (
        capsys.readouterr().err
    )
