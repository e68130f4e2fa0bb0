"""`vermeil download`: a model or a dataset as files on this machine."""

from pathlib import Path

import typer

from vermeil_client.commands.files import file_name
from vermeil_client.commands.output import Output, bars


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(download)


def download(
    context: typer.Context,
    name: str = typer.Argument(
        ..., help="A model, such as nano or nano@3, or a dataset, such as datasets/peps."
    ),
    folder: Path | None = typer.Argument(None, help="Where to; default: a folder here named after it."),
) -> None:
    """Bring the files of a model or a dataset here, each checked by its hash."""
    output: Output = context.obj
    place = folder or Path(file_name(name))
    with output.connect() as client, bars(quiet=output.as_json) as progress:
        bar = progress.add_task("download", total=None, figures="")

        def show(done: int, total: int) -> None:
            figures = f"{done / 1e6:,.1f}/{total / 1e6:,.1f} MB"
            progress.update(bar, total=max(total, 1), completed=done, figures=figures)

        version = client.download(name, place, show)
    if output.as_json:
        output.show({"name": version, "folder": str(place.absolute())})
    else:
        output.say(f"{version} is in {place}")
