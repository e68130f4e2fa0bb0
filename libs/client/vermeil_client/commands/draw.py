"""`vermeil images`: pictures as a grid in one PNG file."""

import math
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from vermeil_errors import InvalidInput

from vermeil_client.client import Vermeil
from vermeil_client.commands.files import file_name
from vermeil_client.commands.output import Output, bars
from vermeil_client.resources import Picture

_ALONE, _IN_A_ROW = 16, 8
"""Pictures of the only prompt, and of each of several, unless told."""
_SEEDS = 2**31


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(images)


def images(
    context: typer.Context,
    model: str = typer.Argument(..., help="A model that gives images, such as digits-image."),
    prompts: list[str] = typer.Argument(
        None, help="A text or the name of a class; each of several gets a row; none lets the model choose."
    ),
    n: int = typer.Option(0, "--n", "-n", help="Pictures of each prompt; default 16 of one, 8 of several."),
    steps: int | None = typer.Option(
        None, help="Steps from noise to picture; default: what suits the model."
    ),
    guidance: float | None = typer.Option(
        None, help="How strongly the prompt is followed: 0 not at all, 1 as it is."
    ),
    solver: str = typer.Option("", help="euler, or heun, which looks twice a step."),
    seed: int | None = typer.Option(None, help="The same seed gives the same pictures."),
    output: Path = typer.Option(Path(), "--output", "-o", help="The PNG file; default: MODEL.png here."),
) -> None:
    """Draw pictures and write them as a grid into a PNG file."""
    shown: Output = context.obj
    wanted = prompts or [""]
    count = n or (_ALONE if len(wanted) == 1 else _IN_A_ROW)
    path = output if output.name else Path(f"{file_name(model)}.png")
    _check_writable(path)
    options = {"n": count, "steps": steps, "guidance": guidance, "solver": solver or None}
    given = {name: value for name, value in options.items() if value is not None}
    # Chosen here, so that every row begins with the same noise and all can be drawn again.
    given["seed"] = secrets.randbelow(_SEEDS) if seed is None else seed
    with shown.connect() as client:
        drawn = draw_rows(client, model, wanted, given, quiet=shown.as_json)
    columns = count if len(wanted) > 1 else math.ceil(math.sqrt(count))
    write_grid(path, drawn, columns)
    _tell(shown, path, wanted, drawn)


def draw_rows(
    client: Vermeil, model: str, prompts: Sequence[str], options: Mapping[str, Any], *, quiet: bool
) -> list[list[Picture]]:
    """The pictures of each prompt, with a bar on standard error while they are drawn."""
    drawn: list[list[Picture]] = []
    with bars(quiet=quiet) as progress:
        for prompt in prompts:
            bar = progress.add_task(prompt[:20] or "drawing", total=None, figures="")
            pictures: list[Picture] = []
            for event in client.draw(model, prompt, **options):
                if isinstance(event, Picture):
                    pictures.append(event)
                    continue
                figures = f"{event.steps_done:,}/{event.steps_total:,} steps"
                progress.update(bar, completed=event.steps_done, total=event.steps_total, figures=figures)
            drawn.append(sorted(pictures, key=lambda picture: picture.index))
    return drawn


def write_grid(path: Path, drawn: Sequence[Sequence[Picture]], columns: int) -> None:
    """Write the pictures of all prompts into one PNG file."""
    from vermeil_client.grid import grid_png  # noqa: PLC0415 numpy and Pillow, which only this command needs

    path.write_bytes(grid_png([picture.png for row in drawn for picture in row], columns))


def _check_writable(path: Path) -> None:
    """Before anything is drawn."""
    if not path.absolute().parent.is_dir():
        raise InvalidInput.for_field("--output", str(path), "its folder does not exist", "make it first")
    if path.is_dir():
        raise InvalidInput.for_field("--output", str(path), "is a folder", "name a file, such as grid.png")


def _tell(output: Output, path: Path, prompts: Sequence[str], drawn: Sequence[Sequence[Picture]]) -> None:
    if output.as_json:
        pictures = [{"prompt": prompt, "seed": seed} for prompt, seed in _seeds(prompts, drawn)]
        output.show({"file": str(path.absolute()), "pictures": pictures})
        return
    count = sum(map(len, drawn))
    sys.stdout.write(f"{path} · {count} pictures · draw them again with --seed {drawn[0][0].seed}\n")
    if len(prompts) > 1:
        sys.stdout.write(f"rows: {', '.join(prompts)}\n")


def _seeds(prompts: Sequence[str], drawn: Sequence[Sequence[Picture]]) -> Iterator[tuple[str, int]]:
    for prompt, row in zip(prompts, drawn, strict=True):
        for picture in row:
            yield prompt, picture.seed
