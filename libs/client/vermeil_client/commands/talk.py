"""`vermeil chat` and `vermeil complete`: answers as they come."""

import sys
from collections.abc import Iterator
from typing import Any

import typer
from vermeil_errors import InvalidInput

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
    prompt: str = typer.Option("", "--prompt", "-p", help="Ask this and leave; without it, a conversation."),
    system: str = typer.Option("", help="Instructions that go before the conversation."),
    max_tokens: int = _MAX_TOKENS,
    temperature: float = _TEMPERATURE,
    seed: int | None = _SEED,
) -> None:
    """Talk with a model. Leave with an empty line or Ctrl-D."""
    output: Output = context.obj
    options = _options(max_tokens, temperature, seed)
    turns: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    with output.connect() as client:
        for question in [prompt] if prompt else _questions():
            turns.append({"role": "user", "content": question})
            answer = _print(output, client.chat(model, turns, **options))
            turns.append({"role": "assistant", "content": answer})


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
        _print(output, client.complete(model, text, **_options(max_tokens, temperature, seed)))


def _options(max_tokens: int, temperature: float, seed: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    return options if seed is None else {**options, "seed": seed}


def _questions() -> Iterator[str]:
    person = sys.stdin.isatty()
    while True:
        if person:
            sys.stderr.write("› ")
            sys.stderr.flush()
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line


def _print(output: Output, pieces: Iterator[Piece]) -> str:
    parts, reason = [], None
    for piece in pieces:
        parts.append(piece.text)
        reason = piece.finish_reason or reason
        if not output.as_json:
            sys.stdout.write(piece.text)
            sys.stdout.flush()
    answer = "".join(parts)
    if output.as_json:
        output.show({"text": answer, "finish_reason": reason})
    else:
        sys.stdout.write("\n")
    return answer
