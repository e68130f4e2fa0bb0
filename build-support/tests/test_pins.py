"""The pins are one set: what stands beside requirements.txt repeats it, and no file names an index."""

from pathlib import Path

import pytest
from vermeil_build.pins import PINS, Pin, cpu_torch, read_pins, without_cuda
from vermeil_build.tree import ROOT

FOLDER = (ROOT / PINS).parent
pytestmark = pytest.mark.skipif(not (ROOT / PINS).exists(), reason="needs the pins of the checkout")


def _versions(file: Path) -> dict[str, str]:
    return {pin.name: pin.version for pin in read_pins(file)}


def test_the_test_runner_of_pants_is_the_one_of_the_pins() -> None:
    pins = _versions(ROOT / PINS)
    runner = _versions(FOLDER / "pytest.txt")
    assert "pytest" in runner
    assert runner.items() <= pins.items()


@pytest.mark.parametrize("name", ["requirements.txt", "pytest.txt", "pants.txt"])
def test_every_pin_has_a_hash_and_no_file_names_an_index(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert all("--hash=sha256:" in pin.text for pin in read_pins(FOLDER / name))


def test_a_cpu_machine_gets_the_same_torch_without_cuda() -> None:
    pins = read_pins(ROOT / PINS)
    names = {pin.name for pin in without_cuda(pins)}
    assert not any(name.startswith(("nvidia-", "cuda-")) for name in names)
    assert not {"torch", "torchaudio", "torchvision", "triton"} & names
    assert {"numpy", "grpcio", "pytest"} <= names
    versions = _versions(ROOT / PINS)
    assert cpu_torch(pins) == [
        f"{name}=={versions[name]}+cpu" for name in ("torch", "torchaudio", "torchvision")
    ]


def test_markers_and_hashes_stay_with_their_pin(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    first = "a==1 ; sys_platform == 'linux' \\\n    --hash=sha256:0"
    second = "b[x]==2 \\\n    --hash=sha256:1"
    file.write_text(f"# by hand\n{first} \\\n    # via b\n{second}\n")
    assert read_pins(file) == [Pin("a", "1", first + "\n"), Pin("b", "2", second + "\n")]
