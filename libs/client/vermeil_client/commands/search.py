"""`vermeil search`: pictures of a dataset by a text or by another picture."""

from pathlib import Path

import typer
from vermeil_errors import InvalidInput

from vermeil_client.commands.files import picture_file
from vermeil_client.commands.output import Output
from vermeil_client.resources import Hit


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(search)


def search(
    context: typer.Context,
    dataset: str = typer.Argument(..., help="A dataset of pictures, such as emoji."),
    text: str = typer.Argument("", help="What to look for."),
    model: str = typer.Option(..., help="A dual model, such as dual-emoji."),
    image: Path | None = typer.Option(None, help="A picture to look for, instead of a text."),
    hits: int = typer.Option(10, "-k", "--hits", help="How many to find, 1 to 100."),
    output: Path | None = typer.Option(None, "--output", "-o", help="Write what was found into this folder."),
) -> None:
    """Find pictures by a text or another picture; a dataset is embedded before its first search."""
    shown: Output = context.obj
    raw = picture_file(image) if image else b""
    if bool(text) == bool(raw):
        raise InvalidInput("is either a text or a picture", field="TEXT", fix="give a text, or --image FILE")
    with shown.connect() as client:
        job = client.embed(dataset, model)
        if not job.finished:
            shown.follow(client, job)
        found = client.search(
            dataset, text, model=model, image=raw, num_hits=hits, previews=output is not None
        )
    if output:
        _write(output, found)
    columns = ["score", "sample", "split", "class", "captions"]
    shown.table(columns, (_row(hit, as_json=shown.as_json) for hit in found))


def _write(folder: Path, found: list[Hit]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, hit in enumerate(found, 1):
        (folder / f"{place:03d}.png").write_bytes(hit.preview)


def _row(hit: Hit, *, as_json: bool) -> dict[str, object]:
    captions: object = list(hit.captions) if as_json else "; ".join(hit.captions)
    score: object = hit.score if as_json else f"{hit.score:.3f}"
    return {
        "score": score,
        "sample": hit.sample,
        "split": hit.split,
        "class": hit.class_name,
        "captions": captions,
    }
