"""`vermeil ingest`, `vermeil train`: start a job, follow it, say what it made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from vermeil_errors import NotFound

from vermeil_client.client import Vermeil, is_uri, source
from vermeil_client.commands.output import Output
from vermeil_client.recipes import read_recipe, with_changes
from vermeil_client.resources import Job

DETACH = typer.Option(False, "--detach", "-d", help="Print the job's name and do not wait for it.")
REQUEST = typer.Option("", "--request-id", help="The same id gives the same job, however often it is sent.")
PRIORITY = typer.Option(
    "normal", help="low, normal or high: which of the jobs that wait are handed to workers first."
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(ingest)
    app.command()(train)


def ingest(
    context: typer.Context,
    paths: list[str] = typer.Argument(
        ..., help="Files or folders of text or pictures, or digits:, shapes:?count=5000, s3://bucket/prefix."
    ),
    name: str = typer.Option("", help="Name of the dataset; default: the name of the file or folder."),
    include: list[str] = typer.Option([], help="Only files that match this glob; may be repeated."),
    exclude: list[str] = typer.Option([], help="Not files that match this glob; may be repeated."),
    field: list[str] = typer.Option([], help="Field of JSON lines or Parquet to read; may be repeated."),
    media: str = typer.Option("", help="text or image; default: what most files are by their names."),
    change: list[str] = typer.Option([], "--set", help="Any other field, such as images.min_side=16."),
    validation: float = typer.Option(0.05, help="Part kept for validation, 0 to 0.5."),
    split_by: str = typer.Option("", help="document or position; default: by the number of documents."),
    bad_files: str = typer.Option("skip", help="skip and count files that cannot be used, or refuse."),
    invalid_text: str = typer.Option("replace", help="replace invalid UTF-8 by U+FFFD, or refuse."),
    keep_duplicates: bool = typer.Option(False, help="Keep documents that occur twice."),
    origin: str = typer.Option("", help="Where the data come from, for the data card."),
    licence: str = typer.Option("", help="Their licence, for the data card."),
    request_id: str = REQUEST,
    priority: str = PRIORITY,
    detach: bool = DETACH,
) -> None:
    """Turn files and folders into a dataset."""
    output: Output = context.obj
    options: dict[str, Any] = {
        "validation_fraction": validation,
        "bad_files": f"BAD_FILE_POLICY_{bad_files.upper()}",
        "invalid_text": f"INVALID_TEXT_POLICY_{invalid_text.upper()}",
        "keep_duplicates": keep_duplicates,
        "origin": origin or ", ".join(Path(path).name for path in paths),
        "licence": licence,
    }
    if split_by:
        options["split_by"] = f"SPLIT_BY_{split_by.upper()}"
    if media:
        options["media"] = f"MEDIA_{media.upper()}"
    options = with_changes(options, change)
    sources = [source(path, include=include, exclude=exclude, fields=field) for path in paths]
    with output.connect() as client:
        dataset = name or dataset_id(paths[0])
        job = client.ingest(dataset, sources, request_id=request_id or None, priority=priority, **options)
        if started(output, job, detach):
            return
        done = output.follow(client, job)
        output.say(f"{done.result.get('dataset_version')} · {_summary(done.result)}")
        output.say(f"next: vermeil train RECIPE --dataset {dataset}; `vermeil recipes` lists them")


def train(
    context: typer.Context,
    recipe: str = typer.Argument(..., help="A recipe file, or the name of one of `vermeil recipes`."),
    dataset: str = typer.Option("", help="Dataset to learn from, instead of the recipe's own."),
    name: str = typer.Option("", help="Name of the model, instead of the recipe's own."),
    change: list[str] = typer.Option([], "--set", help="Change a field, such as run.steps=100; repeatable."),
    request_id: str = REQUEST,
    priority: str = PRIORITY,
    detach: bool = DETACH,
) -> None:
    """Train a model by a recipe."""
    output: Output = context.obj
    with output.connect() as client:
        changes = list(change)
        if dataset:
            full = dataset if dataset.startswith("datasets/") else f"datasets/{dataset}"
            changes.append(f"data.dataset={full}")
        if name:
            changes.append(f"name={name}")
        wanted = with_changes(_recipe(client, recipe), changes)
        job = client.train(wanted, request_id=request_id or None, priority=priority)
        if started(output, job, detach):
            return
        done = output.follow(client, job)
        output.say(f"{done.result.get('model_version')} · {_summary(done.result)}")
        output.say(f"next: {_next(wanted)}")


def dataset_id(path: str) -> str:
    """The id a file, folder or URI gives its dataset: its name in lower case, with dashes."""
    scheme, _, rest = path.partition(":")
    name = rest.partition("?")[0].rstrip("/") or scheme if is_uri(path) else path
    stem = Path(name).expanduser().absolute().name.split(".")[0].lower()
    words = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem)
    plain = "-".join(part for part in words.split("-") if part)
    full = plain if plain[:1].isalpha() else f"data-{plain}"
    return full[:63].rstrip("-")


def _recipe(client: Vermeil, recipe: str) -> dict[str, Any]:
    path = Path(recipe).expanduser()
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return read_recipe(path)
    shipped = {each["name"]: each for each in client.recipes()}
    if recipe not in shipped:
        names = ", ".join(sorted(shipped)) or "none"
        raise NotFound(f"no recipe {recipe!r}", fix=f"name a .yaml file or one of: {names}")
    return shipped[recipe]


def started(output: Output, job: Job, detach: bool) -> bool:
    """Whether nobody waits for the job; its name is printed then."""
    if detach:
        output.show(job.raw) if output.as_json else output.say(job.name)
    return detach


def _next(recipe: Mapping[str, Any]) -> str:
    """What people do with a model of this recipe."""
    name = recipe.get("name", "MODEL")
    dataset = str(recipe.get("data", {}).get("dataset", "DATASET")).removeprefix("datasets/")
    commands = {
        "image": f"vermeil images {name}",
        "dual": f'vermeil search {dataset} "WORDS" --model {name}',
        "classifier": f"vermeil models {name}",
    }
    return commands.get(recipe.get("task", ""), f"vermeil chat {name}")


def _summary(result: Mapping[str, Any]) -> str:
    """The figures of a result that are not zero, as words."""
    figures = dict(result)
    for value in result.values():
        figures |= value if isinstance(value, dict) else {}
    shown = [
        (name, value) for name, value in sorted(figures.items()) if isinstance(value, int | float) and value
    ]
    return " · ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in shown)
