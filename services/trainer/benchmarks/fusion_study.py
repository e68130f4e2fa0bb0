"""Which way of joining a language model and an image generator is best, after equal data and steps?

    make fusion-study                                  the texts in VERMEIL_DATA_DIR/peps, two cores
    .venv/bin/python services/trainer/benchmarks/fusion_study.py --scale gpu --at-once 1 --texts FOLDER

Every seed has backbones of its own, which all fusions start from. A fusion's learning rate is the best of
short runs of the first seed, by validation loss. Every run ends as a line of runs.jsonl; what has its line is
not run again, and a run that was interrupted goes on from its last checkpoint. Backbones that were made
elsewhere are made again, with the same bits, where a fusion is added to lines that are there.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from fusion_data import SCALES, Scale, StudyData, fusion_recipe, fusions, image_recipe, text_recipe
from fusion_measures import Measures
from fusion_report import write_report
from vermeil_model import FusedModel, ImageModel, TextModel, fuse, fused_config, load_checkpoint
from vermeil_model.fusions.alloy import Alloy
from vermeil_trainer.model_folder import CARD_FILE
from vermeil_trainer.recipe import Recipe
from vermeil_trainer.train import train
from vermeil_training import read_metrics

RESULTS = Path(__file__).with_name("results") / "fusion"
BACKBONES, SWEEP, FINAL = "backbones", "sweep", "final"
Line = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One line of the study."""

    purpose: str
    """backbones, sweep or final."""
    fusion: str
    """Empty for backbones."""
    seed: int
    rate: float
    """Of learning, over that of the recipe."""
    steps: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return "-".join(
            part for part in (self.purpose, self.fusion, f"{self.seed}", f"{self.rate:g}") if part
        )


@dataclass(frozen=True)
class Bench:
    """Where a study works and how."""

    folder: Path
    """Data, backbones and runs under way."""
    texts: Path
    scale: Scale
    threads: int
    results: Path

    def data(self) -> StudyData:
        """Made once."""
        return StudyData(self.folder / "data", self.scale, self.texts)

    def backbones(self, seed: int) -> dict[str, Path]:
        """Folders of a seed's two models."""
        place = self.folder / f"backbones-{seed}"
        return {"text": place / "text" / "model", "image": place / "image" / "model"}


def perform(run: Run, bench: Bench) -> Line:
    """Train and measure."""
    torch.set_num_threads(bench.threads)
    began = time.process_time()
    data = bench.data()
    found = _backbones(run, bench, data) if run.purpose == BACKBONES else _fused(run, bench, data)
    return asdict(run) | found | {"cpu_seconds": round(time.process_time() - began, 1), "made_on": _machine()}


def _train_backbones(seed: int, bench: Bench, data: StudyData) -> None:
    """Unless they are there."""
    makers = {"text": text_recipe, "image": image_recipe}
    for name, folder in bench.backbones(seed).items():
        if not (folder / CARD_FILE).exists():  # written last
            recipe = makers[name](bench.scale, seed)
            train(recipe, data.encoded(recipe), folder.parent)


def _backbones(run: Run, bench: Bench, data: StudyData) -> Line:
    _train_backbones(run.seed, bench, data)
    numbers, items = Measures(data, bench.scale).kept(_joined(bench.backbones(run.seed)))
    return {"metrics": numbers, "items": items}


def _joined(backbones: dict[str, Path]) -> FusedModel:
    """Two backbones side by side, neither of which sees the other."""
    text = load_checkpoint(backbones["text"], TextModel, dtype=torch.float32)
    image = load_checkpoint(backbones["image"], ImageModel, dtype=torch.float32)
    model = fuse(text, image, fused_config(text, image, "alloy"))
    assert isinstance(model, Alloy)
    model.set_openness(0.0)
    return model


def _fused(run: Run, bench: Bench, data: StudyData) -> Line:
    recipe = _pointed(fusion_recipe(bench.scale, run.fusion, run.seed, run.rate, run.steps), bench)
    place = bench.folder / "runs" / run.name
    trained = train(recipe, data.encoded(recipe), place, backbones=bench.backbones(run.seed))
    line: Line = {
        "validation_loss": trained.validation_loss,
        "parameters": trained.parameters,
        "curve": [each for each in read_metrics(place) if "validation_loss" in each],
    }
    if run.purpose == SWEEP:
        return line
    model = load_checkpoint(trained.model, FusedModel, dtype=torch.float32)
    measures = Measures(data, bench.scale)
    numbers, items = measures.all(model)
    mixture = recipe.mixture
    line |= {
        "metrics": numbers,
        "items": items,
        "guessed": measures.guessed,
        "forward_flops_a_row": model.flops(mixture.text_slots, mixture.picture_slots),
        "told": measures.tell(model),
    }
    if isinstance(model, Alloy):
        line["alpha"] = model.alloy().tolist()
    if run.seed == 0:
        measures.draw_sheet(model, bench.results / f"drawn-{run.fusion}.png")
    return line


def _pointed(recipe: Recipe, bench: Bench) -> Recipe:
    """With the folders that stand for names."""
    sources = tuple(
        replace(source, dataset=str(bench.folder / "data" / f"samples-{source.name}"))
        for source in recipe.mixture.sources
    )
    return replace(recipe, mixture=replace(recipe.mixture, sources=sources))


class Lines:
    """What has been run already: runs.jsonl, and items.jsonl for what is behind the numbers."""

    def __init__(self, folder: Path, scale: str) -> None:
        self._files = [folder / "runs.jsonl", folder / "items.jsonl"]
        self._scale = scale
        folder.mkdir(parents=True, exist_ok=True)
        runs, items = (_read(path) for path in self._files)
        behind = {_key(line): line["items"] for line in items}
        self.all = [line | {"items": behind.get(_key(line), {})} for line in runs if line["scale"] == scale]

    def add(self, line: Line) -> None:
        """Keep a finished run."""
        line = {"scale": self._scale, **line}
        self.all.append(line)
        items = line.get("items", {})
        about = {name: line[name] for name in ("scale", *Run.__dataclass_fields__)}
        parts: list[Line] = [{name: value for name, value in line.items() if name != "items"}]
        parts.append(about | {"items": items})
        for path, part in zip(reversed(self._files), reversed(parts), strict=True):  # the run's own line last
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(part, ensure_ascii=False) + "\n")

    def missing(self, runs: Iterable[Run]) -> list[Run]:
        """Those without a line."""
        known = {_key(line) for line in self.all}
        return [run for run in runs if _key({"scale": self._scale, **asdict(run)}) not in known]

    def of(self, purpose: str) -> list[Line]:
        """Lines of one kind."""
        return [line for line in self.all if line["purpose"] == purpose]


def _read(path: Path) -> list[Line]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _key(line: Line) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("scale", *Run.__dataclass_fields__))


def carry_out(runs: Sequence[Run], bench: Bench, lines: Lines, at_once: int) -> None:
    """All runs that have no line yet, some side by side."""
    missing = lines.missing(runs)
    for seed in sorted({run.seed for run in missing if run.purpose != BACKBONES}):
        _train_backbones(seed, bench, bench.data())
    for run, line in _carried_out(missing, bench, at_once):
        lines.add(line)
        shown = {name: round(value, 4) for name, value in line.get("metrics", {}).items()}
        print(run.name, line.get("validation_loss"), json.dumps(shown), flush=True)


def _carried_out(runs: Sequence[Run], bench: Bench, at_once: int) -> Iterator[tuple[Run, Line]]:
    """Runs as they end; one after the other needs no other process."""
    if at_once == 1 or len(runs) < 2:
        for run in runs:
            yield run, perform(run, bench)
        return
    with ProcessPoolExecutor(at_once, get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting = {pool.submit(perform, run, bench): run for run in runs}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def best_rate(lines: Lines, fusion: str) -> float:
    """Of the shortest loss in the sweep."""
    tried = [line for line in lines.of(SWEEP) if line["fusion"] == fusion]
    return float(min(tried, key=lambda line: line["validation_loss"])["rate"])


def study(bench: Bench, scale: str, chosen: Sequence[str], at_once: int) -> None:
    """Backbones, sweep, runs, report."""
    lines, sizes = Lines(bench.results, scale), bench.scale
    bench.data()
    carry_out([Run(BACKBONES, "", seed, 1.0, 0) for seed in range(sizes.seeds)], bench, lines, at_once)
    sweep = [Run(SWEEP, name, 0, rate, sizes.sweep_steps) for name in chosen for rate in sizes.rates]
    carry_out(sweep, bench, lines, at_once)
    final = [
        Run(FINAL, name, seed, best_rate(lines, name), sizes.fusion_steps)
        for seed in range(sizes.seeds)
        for name in chosen
    ]
    carry_out(final, bench, lines, at_once)
    write_report(lines.of(BACKBONES), lines.of(FINAL), bench.results)


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="laptop")
    parser.add_argument("--fusions", nargs="+", choices=fusions(), default=fusions(), metavar="FUSION")
    parser.add_argument("--seeds", type=int, help="more or fewer than the scale has")
    parser.add_argument("--texts", type=Path, help="folder of .txt, .rst or .md files to learn from")
    home = Path(os.environ.get("VERMEIL_HOME", "~/.vermeil")).expanduser()
    parser.add_argument(
        "--folder", type=Path, help="where to work; ~/.vermeil/fusion-study/SCALE if not given"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    given = parser.parse_args()
    texts = given.texts
    if texts is None:
        if not os.environ.get("VERMEIL_DATA_DIR"):
            sys.exit("there is nothing to read: give --texts FOLDER, or set VERMEIL_DATA_DIR")
        texts = Path(os.environ["VERMEIL_DATA_DIR"]) / "peps"
    folder = given.folder or home / "fusion-study" / given.scale
    scale = SCALES[given.scale]
    scale = replace(scale, seeds=given.seeds or scale.seeds)
    bench = Bench(folder, texts, scale, given.threads, given.results)
    study(bench, given.scale, given.fusions, given.at_once)


if __name__ == "__main__":
    main()
