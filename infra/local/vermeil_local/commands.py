"""`vermeil up | down | status | doctor | backup | restore | collect`."""

import dataclasses
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from vermeil_client.commands.output import Output
from vermeil_errors import Conflict, DeadlineExceeded, Unavailable

from vermeil_local.detach import start_detached
from vermeil_local.home import Home
from vermeil_local.ports import check_free
from vermeil_local.processors import share_processors
from vermeil_local.settings import LocalSettings

if TYPE_CHECKING:
    from vermeil_registry.snapshots import Snapshot

_MARK = {"ok": "✓", "warning": "!", "problem": "✗"}


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file to the `vermeil` command line."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(doctor)
    app.command()(backup)
    app.command()(restore)
    app.command()(collect)


def up(
    context: typer.Context,
    detach: bool = typer.Option(False, "--detach", "-d", help="Come back once it is ready; it runs on."),
) -> None:
    """Run all of Vermeil on this machine. Ctrl-C stops it gently."""
    output: Output = context.obj
    settings = LocalSettings.load()
    if detach:
        running = start_detached(settings)
        output.say(f"ready at {running.url}; stop it with `vermeil down`")
        if running.demo:
            output.say(f"demo {running.demo} · opens in a few seconds")
    else:
        check_free(settings)
        share_processors()
        from vermeil_local.up import run  # noqa: PLC0415 loads every service

        run(settings, output.say)


def down(context: typer.Context) -> None:
    """Stop the Vermeil of this home; jobs go on with the next `vermeil up`."""
    output: Output = context.obj
    settings = LocalSettings.load()
    home = Home(settings.home)
    if not home.is_held():
        output.say(f"nothing runs on {home.path}; where it runs on another folder, name that in VERMEIL_HOME")
        return
    pid = home.holder()
    if pid is None:
        raise Conflict(f"a process holds {home.path} and does not say which", fix="stop it by hand")
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 2 * settings.drain_seconds + 10
    while home.is_held():
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"process {pid} does not stop", fix=f"see {home.logs}")
        time.sleep(0.1)
    output.say("stopped")


def status(context: typer.Context) -> None:
    """Say what runs and how it is; exit code 0 if all of it is well."""
    from vermeil_local.health import look  # noqa: PLC0415 only this command needs it

    output: Output = context.obj
    settings = LocalSettings.load()
    home = Home(settings.home)
    running = home.running()
    if running is None:
        raise Unavailable(f"nothing runs on {home.path}", fix="start it with `vermeil up`")
    parts = look(settings, home, running)
    output.table(["part", "state", "detail"], (dataclasses.asdict(part) for part in parts))
    sick = [part.part for part in parts if part.state != "serving"]
    if sick:
        raise Unavailable(f"not serving: {', '.join(sick)}", fix=f"see the logs in {home.logs}")


def backup(
    context: typer.Context,
    folder: Path = typer.Argument(..., help="New, empty, or one that earlier backups were taken into."),
    keep: int = typer.Option(7, help="Snapshots, this one included, that stay in the folder."),
) -> None:
    """Save jobs, names, keys and artifacts into a folder, while all runs on."""
    from vermeil_registry.by_hand import save  # noqa: PLC0415 loads the database

    output: Output = context.obj
    _show(output, save(folder, keep, output.say))


def restore(
    context: typer.Context,
    folder: Path = typer.Argument(..., help="What `backup` wrote."),
    snapshot: str = typer.Option("latest", help="Its time, as --list tells it."),
    list_them: bool = typer.Option(False, "--list", help="Only say which snapshots the folder holds."),
) -> None:
    """Bring a backup into a home that is still empty; afterwards, `vermeil up`."""
    from vermeil_registry.by_hand import bring_back  # noqa: PLC0415 loads the database
    from vermeil_registry.snapshots import SnapshotFolder  # noqa: PLC0415

    output: Output = context.obj
    if list_them:
        found = SnapshotFolder(folder).list(output.say)
        output.table(["time", "rows", "artifacts", "lost", "revision"], map(_facts, found))
        return
    Home(LocalSettings.load().home).require_unheld()
    _show(output, bring_back(folder, snapshot, output.say))


def _show(output: Output, made: "Snapshot") -> None:
    if output.as_json:
        output.show(_facts(made))


def _facts(made: "Snapshot") -> dict[str, object]:
    return {
        "time": made.time,
        "rows": made.num_rows,
        "artifacts": len(made.artifacts),
        "lost": len(made.lost),
        "revision": made.revision,
    }


def collect(
    context: typer.Context,
    older_than: int = typer.Option(7, help="Days, at least 1: what is younger stays."),
) -> None:
    """Remove artifacts that nothing names any more, while all runs on."""
    from vermeil_registry.by_hand import clear  # noqa: PLC0415 loads the database

    output: Output = context.obj
    removed = clear(older_than, output.say)
    if output.as_json:
        output.show(
            {"artifacts": removed.num_manifests, "files": removed.num_blobs, "bytes": removed.num_bytes}
        )


def doctor(
    context: typer.Context,
    deployment: bool = typer.Option(False, "--deployment", help="Look at the servers the settings name."),
) -> None:
    """Look at this machine, or at a deployment: what is there, what is missing, what to do about it."""
    from vermeil_local.deployment import examine_deployment  # noqa: PLC0415 only this command needs them
    from vermeil_local.doctor import examine  # noqa: PLC0415

    output: Output = context.obj
    problems = 0
    for finding in examine_deployment() if deployment else examine(LocalSettings.load()):
        problems += finding.verdict == "problem"
        if output.as_json:
            output.show(dataclasses.asdict(finding))
        else:
            sys.stdout.write(f"{_MARK[finding.verdict]} {finding.name:<18} {finding.detail}\n")
    if problems:
        raise typer.Exit(1)
