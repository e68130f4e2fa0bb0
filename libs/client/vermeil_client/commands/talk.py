"""`vermeil chat` and `vermeil complete`: answers as they come."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from vermeil_errors import InvalidInput

from vermeil_client.client import user_turn
from vermeil_client.commands.files import check_folder, new_files, picture_file
from vermeil_client.commands.output import Output
from vermeil_client.resources import Piece

_MAX_TOKENS = typer.Option(256, help="Tokens at most.")
_TEMPERATURE = typer.Option(0.8, help="0 takes the likeliest token; up to 2.")
_SEED = typer.Option(None, help="The same seed gives the same answer.")


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(chat)
    app.command()(complete)


def chat(
    context: typer.Context,
    model: str = typer.Argument(..., help="A model, such as vermeil-nano or vermeil-nano@3."),
    question: str = typer.Argument("", help="Ask this and leave; without it, a conversation."),
    prompt: str = typer.Option("", "--prompt", "-p", help="The same as QUESTION."),
    image: list[Path] = typer.Option(None, help="A picture to ask about; may be given several times."),
    system: str = typer.Option("", help="Instructions that go before the conversation."),
    max_tokens: int = _MAX_TOKENS,
    temperature: float = _TEMPERATURE,
    seed: int | None = _SEED,
    output: Path = typer.Option(Path(), "--output", "-o", help="Folder for pictures that the model draws."),
) -> None:
    """Talk with a model. Leave with an empty line or Ctrl-D.

    Pictures go with the first question, which may then be empty.
    """
    shown: Output = context.obj
    if question and prompt:
        raise InvalidInput.for_field("--prompt", prompt, "is asked beside QUESTION", "give one of them")
    files = [picture_file(path) for path in image or ()]
    check_folder(output)
    options = _options(max_tokens, temperature, seed)
    turns: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    asked = question or prompt
    with shown.connect() as client:
        for text in [asked] if asked else _questions(may_be_empty=bool(files)):
            turns.append(user_turn(text, files))
            files = []
            turns.append(show_answer(shown, client.chat(model, turns, **options), new_files(output, model)))


def complete(
    context: typer.Context,
    model: str = typer.Argument(..., help="A model, such as vermeil-nano or vermeil-nano@3."),
    prompt: str = typer.Option("", "--prompt", "-p", help="Text to continue; default: standard input."),
    max_tokens: int = _MAX_TOKENS,
    temperature: float = _TEMPERATURE,
    seed: int | None = _SEED,
) -> None:
    """Let a model continue a text."""
    output: Output = context.obj
    text = prompt or sys.stdin.read()
    if not text:
        raise InvalidInput.for_field("--prompt", text, "nothing to continue", "give a text or pipe one in")
    if not output.as_json:
        sys.stdout.write(text)
    with output.connect() as client:
        pieces = client.complete(model, text, **_options(max_tokens, temperature, seed))
        show_answer(output, pieces, new_files(Path(), model))


def _options(max_tokens: int, temperature: float, seed: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    return options if seed is None else {**options, "seed": seed}


def _questions(*, may_be_empty: bool) -> Iterator[str]:
    """Lines until an empty one; the first is asked even if it is empty where it `may_be_empty`."""
    person = sys.stdin.isatty()
    while True:
        if person:
            sys.stderr.write("› ")
            sys.stderr.flush()
        line = sys.stdin.readline().strip()
        if not line and not may_be_empty:
            return
        may_be_empty = False
        yield line


def show_answer(output: Output, pieces: Iterator[Piece], files: Iterator[Path]) -> dict[str, Any]:
    """Show an answer as it comes, its pictures as paths of files; the turn that it was."""
    text, reason = "", None
    images: list[Mapping[str, Any]] = []
    paths: list[str] = []
    for piece in pieces:
        text += piece.text
        reason = piece.finish_reason or reason
        shown = piece.text
        for image in piece.images:
            path = next(files)
            path.write_bytes(image.png)
            images.append(image.raw)
            paths.append(str(path))
            shown += f"[{path}]"
        if not output.as_json:
            sys.stdout.write(shown)
            sys.stdout.flush()
    if output.as_json:
        output.show({"text": text, "finish_reason": reason, **({"images": paths} if paths else {})})
    else:
        sys.stdout.write("\n")
    turn = {"role": "assistant", "content": text}
    return turn | {"images": images} if images else turn
