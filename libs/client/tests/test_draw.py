"""`vermeil images`: a grid of pictures in a file."""

import json
from pathlib import Path

import numpy as np
import pytest
from vermeil_client import Vermeil
from vermeil_client.commands import output, run
from vermeil_client.grid import grid_png
from vermeil_client.testing import FakeGateway
from vermeil_errors import InvalidInput
from vermeil_media import Pixels, decode_image, encode_png


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(output, "Vermeil", lambda url: Vermeil(url or "http://gateway", http=fake))
    monkeypatch.chdir(tmp_path)
    return fake


def square(grey: int, side: int = 8) -> bytes:
    return encode_png(np.full((side, side, 1), grey, np.uint8))


def cell(grid: Pixels, row: int, column: int, side: int = 96) -> int:
    """The grey in the middle of a picture of a grid."""
    top, left = (4 + place * (side + 4) + side // 2 for place in (row, column))
    return int(grid[top, left, 0])


def test_small_pictures_are_enlarged_side_by_side() -> None:
    grid = decode_image(grid_png([square(grey) for grey in (10, 20, 30, 40, 50)], columns=3))
    assert grid.shape == (2 * 100 + 4, 3 * 100 + 4, 3)
    greys = [cell(grid, place // 3, place % 3) for place in range(6)]
    assert greys == [10, 20, 30, 40, 50, 255], "the last place is empty"
    assert grid[0, 0, 0] == grid[102, 50, 0] == 255


def test_large_pictures_stay_as_they_are() -> None:
    assert decode_image(grid_png([square(7, side=200)], columns=1)).shape == (208, 208, 3)


def test_pictures_of_two_sizes_make_no_grid() -> None:
    with pytest.raises(InvalidInput, match="one size"):
        grid_png([square(1), square(2, side=9)], columns=2)
    with pytest.raises(InvalidInput):
        grid_png([], columns=2)


def test_a_prompt_becomes_a_square_of_pictures(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["images", "fake", "7", "--seed", "100", "--steps", "9", "--guidance", "1.5"]) == 0
    wanted = gateway.requests[0][2]
    assert {name: wanted[name] for name in ("model", "prompt", "n", "seed", "steps", "guidance")} == {
        "model": "fake",
        "prompt": "7",
        "n": 16,
        "seed": 100,
        "steps": 9,
        "guidance": 1.5,
    }
    assert "solver" not in wanted
    grid = decode_image((tmp_path / "fake.png").read_bytes())
    assert [cell(grid, row, row) for row in range(4)] == [100, 105, 110, 115]
    assert capsys.readouterr().out == "fake.png · 16 pictures · draw them again with --seed 100\n"


def test_several_prompts_get_a_row_each(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["images", "fake", "0", "1", "2", "-n", "5", "-o", "rows.png"]) == 0
    assert [body["prompt"] for _, _, body in gateway.requests] == ["0", "1", "2"]
    assert len({body["seed"] for _, _, body in gateway.requests}) == 1, "every row begins with the same noise"
    assert decode_image((tmp_path / "rows.png").read_bytes()).shape[:2] == (3 * 100 + 4, 5 * 100 + 4)
    assert "rows: 0, 1, 2" in capsys.readouterr().out


def test_without_a_prompt_the_model_chooses(gateway: FakeGateway, tmp_path: Path) -> None:
    assert run(["images", "models/fake/versions/2", "-n", "2"]) == 0
    assert gateway.requests[0][2]["prompt"] == ""
    assert (tmp_path / "fake-2.png").exists()


def test_json_tells_the_file_and_the_seeds(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["images", "fake@1", "7", "-n", "2", "--seed", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["file"]).name == "fake-1.png"
    assert told["pictures"] == [{"prompt": "7", "seed": 5}, {"prompt": "7", "seed": 6}]


@pytest.mark.parametrize(("path", "words"), [("none/grid.png", "does not exist"), ("folder", "is a folder")])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_drawn(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, words: str
) -> None:
    (tmp_path / "folder").mkdir()
    assert run(["images", "fake", "7", "-o", path]) == 2
    assert words in capsys.readouterr().err
    assert not gateway.requests
