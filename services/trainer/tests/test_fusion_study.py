"""The study of fusions, at a size that says nothing about them and all about the study."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[1] / "benchmarks" / "fusion_study.py"


def _study(folder: Path, *more: str) -> str:
    command = [sys.executable, str(STUDY), "--scale", "short", "--at-once", "1", "--fusions", "alloy", "mot"]
    places = ["--folder", str(folder / "work"), "--results", str(folder / "results")]
    done = subprocess.run([*command, *places, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_study_tells_all_fusions_apart_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(30):
        (texts / f"{number}.txt").write_text(f"the {number} wise men of gotham went to sea in a bowl. " * 40)
    first = _study(tmp_path, "--texts", str(texts))
    assert [line.split()[0] for line in first.splitlines()] == [
        "backbones-0-1",
        "sweep-alloy-0-1",
        "sweep-mot-0-1",
        "final-alloy-0-1",
        "final-mot-0-1",
    ]
    results = tmp_path / "results"
    lines = [json.loads(line) for line in (results / "runs.jsonl").read_text().splitlines()]
    final = {line["fusion"]: line for line in lines if line["purpose"] == "final"}
    assert final.keys() == {"alloy", "mot"}
    for line in final.values():
        assert {"bits_per_byte", "cider_d", "vqa", "text_to_image", "image_loss", "listening"} <= line[
            "metrics"
        ].keys()
        assert line["forward_flops_a_row"] > 0
        assert 0 < line["guessed"] < 1
    assert final["alloy"]["parameters"] - final["mot"]["parameters"] == 2  # a gate a direction
    for name in ("curves.png", "pareto.png", "alpha.png", "drawn-alloy.png", "drawn-mot.png", "table.md"):
        assert (results / name).stat().st_size > 0
    assert "mot | +" in (results / "table.md").read_text()

    runs = results / "runs.jsonl"
    *kept, last = runs.read_text().splitlines(keepends=True)
    runs.write_text("".join(kept))
    shutil.rmtree(tmp_path / "work")  # as in a fresh clone, where lines are and backbones are not
    again = _study(tmp_path, "--texts", str(texts))
    assert [line.split()[0] for line in again.splitlines()] == ["final-mot-0-1"]
    repeated = json.loads(runs.read_text().splitlines()[-1])
    assert repeated["metrics"] == pytest.approx(json.loads(last)["metrics"], rel=1e-4, abs=1e-6)


def test_a_study_without_texts_says_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(STUDY), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "VERMEIL_DATA_DIR"},
    )
    assert done.returncode == 1
    assert "give --texts FOLDER, or set VERMEIL_DATA_DIR" in done.stderr
