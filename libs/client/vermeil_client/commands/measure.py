"""`vermeil evaluate`, `vermeil compare`, `vermeil report`: numbers, two of them beside each other, a page."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from vermeil_errors import InvalidInput

from vermeil_client.commands.output import Output
from vermeil_client.commands.work import DETACH, PRIORITY, REQUEST, started
from vermeil_client.names import resource_name


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(evaluate)
    app.command()(compare)
    app.command()(report)


def evaluate(
    context: typer.Context,
    model: str = typer.Argument(..., help="A model, such as vermeil-nano or vermeil-nano@3."),
    task: str = typer.Option("perplexity", help="What to measure; `vermeil tasks` lists them."),
    dataset: str = typer.Option("", help="Dataset to measure on; default: the one it was trained on."),
    data: Path | None = typer.Option(None, help="A file of JSON lines in place of a dataset."),
    judge: str = typer.Option("", help="Model that looks at the answers, where the task needs one."),
    option: list[str] = typer.Option(
        [], "--set", help="Option of the task, such as max_tokens=64; repeatable."
    ),
    split: str = typer.Option("validation", help="validation, train, or test where the dataset has one."),
    limit: int = typer.Option(0, help="At most this many items; 0 for all."),
    seed: int = typer.Option(0, help="Seed of sampling and of the intervals."),
    request_id: str = REQUEST,
    priority: str = PRIORITY,
    detach: bool = DETACH,
) -> None:
    """Measure a model, with intervals."""
    output: Output = context.obj
    full = f"datasets/{dataset.removeprefix('datasets/')}" if dataset else ""
    options: dict[str, Any] = {"dataset": full, "split": split, "limit": limit, "seed": seed}
    options["judge"] = resource_name(judge) if judge else ""
    options["questions"] = str(data.expanduser().absolute()) if data else ""
    options["options"] = options_of(option)
    with output.connect() as client:
        job = client.evaluate(model, task, request_id=request_id or None, priority=priority, **options)
        if started(output, job, detach):
            return
        found = output.follow(client, job).result
    if output.as_json:
        return
    show_report(output, found)
    output.say(f"next: vermeil report {job.name.removeprefix('jobs/')}")


def compare(
    context: typer.Context,
    first: str = typer.Argument(..., help="An evaluation, by the name of its job."),
    second: str = typer.Argument(..., help="Another, of the same task on the same data."),
    seed: int = typer.Option(0, help="Seed of the intervals."),
) -> None:
    """Compare two models by two evaluations, item by item."""
    output: Output = context.obj
    with output.connect() as client:
        found = client.compare(first, second, seed=seed)
    if output.as_json:
        output.show(found)
        return
    models = f"{found['first_model']} minus {found['second_model']}"
    output.say(f"{found['task']}: {models} · {int(found['num_items']):,} items")
    rows = [
        {
            "metric": each["name"],
            "first": f"{each['first']:.4f}",
            "second": f"{each['second']:.4f}",
            "difference": f"{each['difference']:+.4f}",
            "interval": f"{each['low']:+.4f} to {each['high']:+.4f} at {each['level']:.0%}",
            "p": f"{each['p_value']:.4f}",
            "verdict": each["verdict"],
        }
        for each in found.get("differences", ())
    ]
    output.table(list(rows[0]) if rows else [], rows)
    for name, reason in (found.get("left_out") or {}).items():
        output.say(f"{name} is left out: {reason}")


def report(
    context: typer.Context,
    job: str = typer.Argument(..., help="An evaluation, by the name of its job."),
    out: Path | None = typer.Option(
        None, help="File for the page; default: report-JOB.html here; - for stdout."
    ),
) -> None:
    """Write the page of an evaluation: tables, curves, samples and failures in one file."""
    output: Output = context.obj
    with output.connect() as client:
        found = client.report(job)
    if output.as_json:
        output.show(found["report"])
        return
    if str(out) == "-":
        sys.stdout.write(found["page"])
        return
    path = out or Path(f"report-{job.removeprefix('jobs/')}.html")
    path.write_text(found["page"], encoding="utf-8")
    show_report(output, found["report"])
    output.say(f"to look at: {path}")


def show_report(output: Output, found: Mapping[str, Any]) -> None:
    """The numbers for people."""
    items = int(found.get("num_items", 0))
    output.say(f"{found.get('model')} · {found.get('task')} on {found.get('data')} · {items:,} items")
    rows = [
        {
            "metric": metric["name"],
            "value": f"{metric['value']:.4f}",
            "interval": f"{metric['low']:.4f} to {metric['high']:.4f} at {metric['level']:.0%}",
        }
        for metric in found.get("metrics", ())
    ]
    output.table(list(rows[0]) if rows else [], rows)
    if found.get("judge"):
        output.say(f"judged by {found['judge']}")


def options_of(assignments: Sequence[str]) -> dict[str, str]:
    """From NAME=VALUE."""
    pairs = [assignment.partition("=") for assignment in assignments]
    for (name, equals, _), assignment in zip(pairs, assignments, strict=True):
        if not (name and equals):
            raise InvalidInput.for_field(
                "--set", assignment, "is not NAME=VALUE", "write --set max_tokens=64"
            )
    return {name: value for name, _, value in pairs}
