"""What commands share: the connection, tables or JSON on stdout, progress bars on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from vermeil_client.client import Vermeil
from vermeil_client.resources import Job


class Output:
    """How a command talks to the gateway and to the person.

    Args:
        url: Gateway of this call; None lets the settings decide.
        as_json: Print one JSON object a line instead of words and tables.
    """

    def __init__(self, url: str | None, as_json: bool) -> None:
        self._url = url
        self.as_json = as_json

    def connect(self) -> Vermeil:
        """Open a connection to the gateway."""
        return Vermeil(self._url)

    def say(self, text: str) -> None:
        """A line for people; silent where JSON is wanted."""
        if not self.as_json:
            sys.stdout.write(f"{text}\n")

    def show(self, body: Mapping[str, Any]) -> None:
        """One object: JSON in one line for programs, indented for people."""
        indent = None if self.as_json else 2
        sys.stdout.write(json.dumps(body, ensure_ascii=False, indent=indent) + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows as a table for people, as one JSON object a line for programs."""
        if self.as_json:
            for row in rows:
                self.show(row)
            return
        table = Table(*columns, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*(str(row.get(column, "")) for column in columns))
        width = None if sys.stdout.isatty() else 200
        Console(file=sys.stdout, width=width, highlight=False, markup=False).print(table)

    def follow(self, client: Vermeil, job: Job) -> Job:
        """Show a job and those before it until it ends; return it or raise what it failed with."""
        if not self.as_json:
            sys.stderr.write(f"{job.name} · follow it elsewhere with `vermeil jobs watch {_id(job)}`\n")
        with bars(quiet=self.as_json) as progress:
            try:
                for before in job.after:
                    self._follow_one(client, client.job(before), progress)
                return self._follow_one(client, job, progress).raise_for_state()
            except KeyboardInterrupt:
                sys.stderr.write(f"\n{job.name} goes on; stop it with `vermeil jobs cancel {_id(job)}`\n")
                raise

    def _follow_one(self, client: Vermeil, job: Job, progress: Progress) -> Job:
        bar = progress.add_task(_verb(job), total=None, figures="")
        latest = job
        for latest in client.watch(job.name):
            _advance(progress, bar, latest)
            if self.as_json:
                self.show(latest.raw)
        return latest


def bars(*, quiet: bool) -> Progress:
    """Progress bars on standard error; each task has `figures` to show."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        disable=quiet,
    )


def _advance(progress: Progress, bar: TaskID, job: Job) -> None:
    figures = [f"{job.done:,}/{job.total:,} {job.unit}" if job.total else job.message or job.state.lower()]
    figures += [f"{name} {_short(value)}" for name, value in sorted(job.metrics.items())]
    total = job.total or (1 if job.finished else None)
    done = total if job.state == "SUCCEEDED" and total else job.done
    progress.update(bar, total=total, completed=done, figures=" · ".join(figures))


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _verb(job: Job) -> str:
    return job.kind.rpartition(".")[2] or "job"


def _id(job: Job) -> str:
    return job.name.removeprefix("jobs/")
