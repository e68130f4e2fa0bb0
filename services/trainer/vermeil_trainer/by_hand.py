"""A training by hand, without any server: a recipe and a dataset's folder in, a model's folder out.

Under torchrun the first process prepares the data and writes, the others wait and learn along. The
libraries that learn are loaded once there is something to do.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from vermeil_errors import Cancelled, InvalidInput

from vermeil_trainer.reading import read_recipe, recipe_from_dict
from vermeil_trainer.recipe import Recipe
from vermeil_trainer.shipped import FOLDER
from vermeil_trainer.submit import BACKBONES

if TYPE_CHECKING:
    from vermeil_training import Progress


def by_hand(arguments: Sequence[str]) -> None:
    """Run one training as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m vermeil_trainer", description="Train a model by a recipe, without any server."
    )
    parser.add_argument("recipe", help=f"a .yaml file, or one of {', '.join(_shipped_names())}")
    parser.add_argument(
        "--dataset", type=Path, help="folder of a dataset, raw or encoded; a mixture names its own"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the run; one that exists goes on"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="such as run.steps=10"
    )
    given = parser.parse_args(arguments)
    recipe = recipe_from_dict(with_changes(read_recipe(_recipe_path(given.recipe)), given.set))
    if (given.dataset is None) != (recipe.task in ("fusion", "int8")):
        has = "is required" if given.dataset is None else f"is not for task {recipe.task}"
        raise InvalidInput.for_field(
            "--dataset", given.dataset or "", has, "all tasks but fusion and int8 learn from one"
        )
    if recipe.task == "int8":
        _write_int8(recipe, given.output / "model")
        return
    _train(recipe, given.dataset, given.output)


def with_changes(recipe: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The recipe with fields set such as "run.steps=10"; values are YAML."""
    for change in changes:
        path, equals, text = change.partition("=")
        *groups, last = path.split(".")
        place: Any = recipe
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else None
        if not equals or not last or not isinstance(place, dict):
            raise InvalidInput.for_field("--set", change, "sets no field", "write --set run.steps=10")
        place[last] = yaml.safe_load(text)
    return recipe


def _write_int8(recipe: Recipe, folder: Path) -> None:
    from vermeil_trainer.int8 import write_int8  # noqa: PLC0415

    sizes = write_int8(recipe, Path(recipe.model.initial).expanduser(), folder)
    sys.stdout.write(
        f"{sizes['initial_weight_bytes']:,} bytes of weights became {sizes['weight_bytes']:,}\n"
        f"model: {folder}\n"
    )


def _train(recipe: Recipe, dataset: Path | None, output: Path) -> None:
    from vermeil_training import join_world  # noqa: PLC0415

    from vermeil_trainer.prepare import prepare  # noqa: PLC0415
    from vermeil_trainer.train import train  # noqa: PLC0415

    initial = Path(recipe.model.initial).expanduser() if recipe.model.initial else None
    folders = {"": dataset} if dataset else {s.name: Path(s.dataset) for s in recipe.mixture.sources}
    backbones = {}
    if recipe.task == "fusion" and initial is None:
        backbones = {name: Path(getattr(recipe.fusion, name)).expanduser() for name in BACKBONES}
    with _stop_signal() as stop, join_world() as world:
        encoded = prepare(recipe, folders, output, initial or backbones.get("text"), world)
        trained = train(
            recipe,
            encoded,
            output,
            initial=initial,
            backbones=backbones,
            world=world,
            on_progress=_Printer(),
            should_stop=stop.is_set,
        )
        leads = world.leads
    if not trained.finished:
        raise Cancelled(f"stopped after step {trained.steps}", fix="the same command goes on from there")
    if leads:
        sys.stdout.write(
            f"{trained.parameters:,} parameters, {trained.items:,} {trained.unit} "
            f"in {trained.seconds:.1f} s ({trained.items_per_second:,.0f} a second)\n"
            f"validation loss {trained.validation_loss:.4f}, lowest {trained.best_validation_loss:.4f}\n"
            f"model: {trained.model}\n"
        )


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM; the second one ends the process."""
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Printer:
    """A line a second for people, every ten seconds into a file."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, progress: "Progress") -> None:
        now, done = time.monotonic(), progress.step == progress.steps
        if now < self._next and not done:
            return
        self._next = now + (1 if self._live else 10)
        line = f"step {progress.step:,}/{progress.steps:,}"
        line += f"  {progress.items_per_second:,.0f} {progress.unit}/s"
        for name, loss in (("loss", progress.loss), ("validation", progress.validation_loss)):
            line += "" if loss is None else f"  {name} {loss:.4f}"
        sys.stderr.write(f"\r{line}\033[K" + ("\n" if done else "") if self._live else f"{line}\n")
        sys.stderr.flush()


def _recipe_path(given: str) -> Path:
    return FOLDER / f"{given}.yaml" if given in _shipped_names() else Path(given)


def _shipped_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
