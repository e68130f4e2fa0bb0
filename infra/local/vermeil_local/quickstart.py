"""From this machine's own documentation to a model that writes, from digits to one that draws, in minutes.

Everything goes through the same doors as a user's own work: the gateway, jobs, the registry.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vermeil_client import Vermeil
from vermeil_client.client import source
from vermeil_client.commands.draw import draw_rows, write_grid
from vermeil_client.commands.output import Output
from vermeil_client.recipes import with_changes
from vermeil_errors import VermeilError

from vermeil_local.corpus import write_corpus
from vermeil_local.detach import start_detached
from vermeil_local.home import Home, Running
from vermeil_local.settings import LocalSettings

_DATASET = "python-docs"
_DIGITS = "digits"
_NUM_PICTURES = 8
"""Of each digit in the grid."""
_PROMPT = "Return a list of"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tour; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make quickstart", description=__doc__)
    parser.add_argument("--recipe", default="nano", help="a recipe of the trainer")
    parser.add_argument("--set", action="append", default=[], help="change a field, such as run.steps=100")
    parser.add_argument("--max-bytes", type=int, default=12_000_000, help="text to learn from, at most")
    parser.add_argument("--image-recipe", default="digits-image", help="a recipe of the trainer for pictures")
    parser.add_argument("--image-set", action="append", default=[], help="change a field of that one")
    options = parser.parse_args(arguments)
    try:
        _tour(LocalSettings.load(), options)
    except VermeilError as error:
        sys.stderr.write(f"quickstart: {error}\n")
        return error.exit_code
    return 0


def _tour(settings: LocalSettings, options: argparse.Namespace) -> None:
    began = time.monotonic()
    home = Home(settings.home)
    _title("1/7 Vermeil is up")
    running = home.running() or start_detached(settings)
    _say(f"gateway {running.url} · everything it keeps is in {home.path}")
    output = Output(url=running.url, as_json=False)
    with Vermeil(running.url) as client:
        _title("2/7 Data: the English in this Python installation")
        dataset = _ingest(client, output, home.path / "quickstart" / "python-docs", options.max_bytes)
        _title("3/7 Training a model that writes")
        wanted = _recipe(client, options.recipe, [f"data.dataset=datasets/{_DATASET}", *options.set])
        version = str(output.follow(client, client.train(wanted)).result["model_version"])
        _title("4/7 Evaluation")
        report = output.follow(client, client.evaluate(version)).result
        for metric in report["metrics"]:
            _say(f"{metric['name']} {metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})")
        _title("5/7 A question")
        _answer(client, str(wanted["name"]))
        _title("6/7 Training a model that draws, from handwritten digits")
        drawing, grid = _draw(client, output, home.path / "quickstart", options)
    _title("7/7 Done")
    _say(f"{dataset} → {version} and {_DIGITS} → {drawing} in {(time.monotonic() - began) / 60:.1f} minutes.")
    _say(f"Look at what it drew: {grid}")
    _what_next(running, version.split("/")[1], drawing.split("/")[1])


def _ingest(client: Vermeil, output: Output, folder: Path, max_bytes: int) -> str:
    num_files = write_corpus(folder, max_bytes=max_bytes)
    _say(f"{num_files:,} modules have something to say; written to {folder}")
    options = {"origin": f"documentation of Python {sys.version.split()[0]}", "licence": "PSF-2.0 and others"}
    job = client.ingest(_DATASET, [source(str(folder))], **options)
    return str(output.follow(client, job).result["dataset_version"])


def _recipe(client: Vermeil, name: str, changes: list[str]) -> dict[str, object]:
    shipped = {each["name"]: each for each in client.recipes()}
    return with_changes(shipped[name], changes)


def _answer(client: Vermeil, model: str) -> None:
    sys.stdout.write(f"{_PROMPT}")
    for piece in client.complete(model, _PROMPT, max_tokens=80, temperature=0.7, seed=1):
        sys.stdout.write(piece.text)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _draw(client: Vermeil, output: Output, folder: Path, options: argparse.Namespace) -> tuple[str, Path]:
    """The version of the model that draws, and the file with a row of pictures of every digit."""
    output.follow(client, client.ingest(_DIGITS, [source("digits:")]))
    wanted = _recipe(client, options.image_recipe, [f"data.dataset=datasets/{_DIGITS}", *options.image_set])
    version = str(output.follow(client, client.train(wanted)).result["model_version"])
    digits = [str(digit) for digit in range(10)]
    drawn = draw_rows(client, str(wanted["name"]), digits, {"n": _NUM_PICTURES, "seed": 1}, quiet=False)
    grid = folder / "digits.png"
    write_grid(grid, drawn, _NUM_PICTURES)
    return version, grid


def _what_next(running: Running, model: str, drawing: str) -> None:
    _say(f"It still runs at {running.url}. Try:")
    for command, meaning in (
        (f"vermeil chat {model}", "talk with it (it has read manuals, not conversations)"),
        (f'vermeil complete {model} -p "Raises ValueError if"', "let it continue a text"),
        (f"vermeil images {drawing} 3 1 4 -o pi.png", "let the other one draw, a row for each digit"),
        (f"vermeil models {model}", "recipe, data, seed and figures behind it"),
        ("vermeil ingest FOLDER", "your own texts, then: vermeil train nano --dataset NAME"),
        ("vermeil ingest FOLDER --media image", "your own pictures, a folder for each class"),
        ("vermeil status", "what runs"),
        ("vermeil down", "stop it; nothing is lost"),
    ):
        _say(f"  .venv/bin/{command:<48} {meaning}")
    _say(f"  {running.url + '/docs':<60} the HTTP API, compatible with OpenAI clients")


def _title(text: str) -> None:
    sys.stdout.write(f"\n── {text}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
