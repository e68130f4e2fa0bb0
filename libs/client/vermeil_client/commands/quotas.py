"""Quotas: how many jobs an owner may have running and waiting at once."""

from collections.abc import Mapping
from typing import Any

import typer

from vermeil_client.commands.output import Output

_COLUMNS = ["owner", "running", "waiting", "limits"]


def add_commands(app: typer.Typer) -> None:
    """Add them to the app."""
    quotas = typer.Typer(
        help="Show how many jobs owners have and may have at once; set it.", no_args_is_help=True
    )
    quotas.command("list")(list_quotas)
    quotas.command("set")(set_quota)
    quotas.command("reset")(reset_quota)
    app.add_typer(quotas, name="quotas")


def list_quotas(context: typer.Context) -> None:
    """List all owners who have jobs that are not over, or limits of their own."""
    output: Output = context.obj
    with output.connect() as client:
        output.table(_COLUMNS, [each if output.as_json else _row(each) for each in client.quotas()])


def set_quota(
    context: typer.Context,
    owner: str = typer.Argument(..., help="Whose, as in `vermeil keys create --owner`."),
    running: int | None = typer.Option(None, min=0, help="Jobs running at once; 0 for no bound."),
    waiting: int | None = typer.Option(None, min=0, help="Jobs waiting at once; 0 for no bound."),
) -> None:
    """Give an owner limits of its own; what is not named stays. Needs an admin's key."""
    output: Output = context.obj
    with output.connect() as client:
        now = client.quota(owner)["limits"]
        given = {"max_running": running, "max_waiting": waiting}
        wanted = {name: int(now[name]) if value is None else value for name, value in given.items()}
        _show(output, client.set_quota(owner, **wanted))


def reset_quota(context: typer.Context, owner: str) -> None:
    """Take an owner's own limits away: the defaults hold again. Needs an admin's key."""
    output: Output = context.obj
    with output.connect() as client:
        _show(output, client.reset_quota(owner))


def _show(output: Output, quota: Mapping[str, Any]) -> None:
    if output.as_json:
        output.show(quota)
    else:
        row = _row(quota)
        output.say(f"{row['owner']} · running {row['running']} · waiting {row['waiting']} · {row['limits']}")


def _row(quota: Mapping[str, Any]) -> dict[str, object]:
    limits = quota.get("limits") or {}
    return {
        "owner": str(quota["owner"]).removeprefix("owners/"),
        "running": _of(quota.get("num_running", 0), limits.get("max_running", 0)),
        "waiting": _of(quota.get("num_waiting", 0), limits.get("max_waiting", 0)),
        "limits": "default" if quota.get("is_default") else "own",
    }


def _of(number: object, most: object) -> str:
    return f"{number} of {most}" if int(str(most)) else f"{number}"
