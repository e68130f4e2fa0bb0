"""A model that writes, one that draws, and both as one that talks about pictures, in minutes.

Texts are this machine's own documentation, pictures are drawn scenes of coloured shapes. Everything goes
through the same doors as a user's own work: the gateway, jobs, the registry.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vermeil_client import Vermeil
from vermeil_client.client import source, user_turn
from vermeil_client.commands.draw import draw_rows, write_grid
from vermeil_client.commands.files import new_files
from vermeil_client.commands.output import Output
from vermeil_client.commands.talk import show_answer
from vermeil_client.recipes import with_changes
from vermeil_data.shapes import captions, questions, random_scene, render
from vermeil_errors import VermeilError
from vermeil_media import encode_png

from vermeil_local.corpus import write_corpus
from vermeil_local.detach import start_detached
from vermeil_local.home import Home, Running
from vermeil_local.settings import LocalSettings

_DATASET = "python-docs"
_SHAPES, _QUESTIONS = "shapes", "shapes-questions"
_UNSEEN = 99
"""Seed of a scene that no model has learned from."""
_STEPS = {"text": [], "image": ["run.steps=600"], "fused": ["run.steps=700"]}
"""Fewer than pictures deserve, for those who wait."""
_NUM_PICTURES = 8
"""Of each prompt in the grid."""
_PROMPT = "Return a list of"
_WANTED = (
    "a red circle",
    "two blue squares",
    "a green triangle at the bottom left",
    "a purple cross and an orange circle",
    "a cyan square above a yellow triangle",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tour; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make quickstart", description=__doc__)
    parser.add_argument("--max-bytes", type=int, default=12_000_000, help="text to learn from, at most")
    parser.add_argument("--scenes", type=int, default=6000, help="pictures to learn from, twice")
    for what, recipe in (("text", "nano"), ("image", "shapes-image"), ("fused", "fused-shapes")):
        parser.add_argument(f"--{what}-recipe", default=recipe, help="a recipe of the trainer")
        parser.add_argument(
            f"--{what}-set",
            action="append",
            default=_STEPS[what],
            help="change a field of it, such as run.steps=2000",
        )
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
    folder = home.path / "quickstart"
    _title("1/8 Vermeil is up")
    running = home.running() or start_detached(settings)
    _say(f"gateway {running.url} · everything it keeps is in {home.path}")
    if running.demo:
        _say(f"watch it in a browser: {running.demo}")
    output = Output(url=running.url, as_json=False)
    with Vermeil(running.url) as client:
        _title("2/8 Data: the English in this Python installation")
        _ingest(client, output, folder / "python-docs", options.max_bytes)
        _title("3/8 Training a model that writes")
        text = _train(client, output, options.text_recipe, [_learns_from(_DATASET), *options.text_set])
        _title("4/8 Evaluation")
        report = output.follow(client, client.evaluate(text)).result
        for metric in report["metrics"]:
            _say(f"{metric['name']} {metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})")
        _title("5/8 A text to be continued")
        _answer(client, output, text)
        _title("6/8 Training a model that draws, from scenes of coloured shapes")
        for name, more in ((_SHAPES, ""), (_QUESTIONS, "&seed=1&questions=1")):
            uri = f"shapes:?count={options.scenes}{more}"
            output.follow(client, client.ingest(name, [source(uri)]))
        image = _train(client, output, options.image_recipe, [_learns_from(_SHAPES), *options.image_set])
        _title("7/8 Both become one that reads and draws")
        backbones = [f"fusion.text={text}", f"fusion.image={image}"]
        fused = _train(client, output, options.fused_recipe, [*backbones, *options.fused_set])
        _title("8/8 A conversation about a picture")
        shown, grid = _converse(client, output, fused, folder)
    _say(f"\n{text} and {image} → {fused} in {(time.monotonic() - began) / 60:.1f} minutes.")
    _say(f"Look at what it was shown: {shown}")
    _say(f"and at what it draws:      {grid}")
    _what_next(running, fused, shown)


def _learns_from(dataset: str) -> str:
    return f"data.dataset=datasets/{dataset}"


def _ingest(client: Vermeil, output: Output, folder: Path, max_bytes: int) -> None:
    num_files = write_corpus(folder, max_bytes=max_bytes)
    _say(f"{num_files:,} modules have something to say; written to {folder}")
    options = {"origin": f"documentation of Python {sys.version.split()[0]}", "licence": "PSF-2.0 and others"}
    output.follow(client, client.ingest(_DATASET, [source(str(folder))], **options))


def _train(client: Vermeil, output: Output, recipe: str, changes: list[str]) -> str:
    """The version of the model that a recipe makes."""
    shipped = {each["name"]: each for each in client.recipes()}
    job = client.train(with_changes(shipped[recipe], changes))
    return str(output.follow(client, job).result["model_version"])


def _answer(client: Vermeil, output: Output, model: str) -> None:
    sys.stdout.write(_PROMPT)
    pieces = client.complete(model, _PROMPT, max_tokens=80, temperature=0.7, seed=1)
    show_answer(output, pieces, new_files(Path(), model))


def _converse(client: Vermeil, output: Output, model: str, folder: Path) -> tuple[Path, Path]:
    """Show a scene, ask about it, have another drawn, then many; the files of the scene and of the many."""
    scene = random_scene(_UNSEEN, 0)
    shown, grid = folder / "shown.png", folder / "drawn.png"
    picture = encode_png(render(scene))
    shown.write_bytes(picture)
    said = [
        (user_turn("", [picture]), 40, f"[{shown}]  (in truth: {captions(scene)[0]})"),
        *(
            (user_turn(each.text), 8, f"{each.text}  (in truth: {each.answer})")
            for each in questions(scene)[:4]
        ),
        (user_turn(_WANTED[0]), 8, _WANTED[0]),
    ]
    turns: list[dict[str, Any]] = []
    answered = new_files(folder, "answered")
    for turn, max_tokens, told in said:
        _say(f"› {told}")
        turns.append(turn)
        pieces = client.chat(model, turns, max_tokens=max_tokens, temperature=0, seed=1)
        turns.append(show_answer(output, pieces, answered))
    _say(f"And in pictures alone: {' · '.join(_WANTED)}")
    drawn = draw_rows(client, model, _WANTED, {"n": _NUM_PICTURES, "seed": 1}, quiet=False)
    write_grid(grid, drawn, _NUM_PICTURES)
    return shown, grid


def _what_next(running: Running, fused: str, shown: Path) -> None:
    model = fused.split("/")[1]
    _say(f"It still runs at {running.url}. Try:")
    for command, meaning in (
        (f"vermeil chat {model} --image {shown}", "ask it about the picture; a line a question"),
        (f'vermeil images {model} "a red cross" -o cross.png', "let it draw"),
        ("vermeil models", "all three of them; a name behind it tells where a model comes from"),
        ("vermeil ingest FOLDER", "your own texts, then: vermeil train nano --dataset NAME"),
        ("vermeil ingest FOLDER --media image", "your own pictures, with captions, classes or questions"),
        ("vermeil status", "what runs"),
        ("vermeil down", "stop it; nothing is lost"),
    ):
        _say(f"  .venv/bin/{command:<48} {meaning}")
    if running.demo:
        _say(f"  {running.demo:<60} all of it in a browser")
    _say(f"  {running.url + '/docs':<60} the HTTP API, compatible with OpenAI clients")


def _title(text: str) -> None:
    sys.stdout.write(f"\n── {text}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
