"""Keys of the gateway: create, list, revoke."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from vermeil_client.commands.output import Output

_COLUMNS = ["name", "for", "owner", "may", "state", "tokens", "last used"]


def add_commands(app: typer.Typer) -> None:
    """Add them to the app."""
    keys = typer.Typer(help="Hand out keys of the gateway, and take them back.", no_args_is_help=True)
    keys.command("create")(create_key)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke_key)
    app.add_typer(keys, name="keys")


def create_key(
    context: typer.Context,
    display_name: str = typer.Argument("", help="What it is for."),
    scope: list[str] = typer.Option(["inference"], help="inference, read, submit or admin; may be repeated."),
    owner: str = typer.Option("default", help="Who answers for it."),
    days: float = typer.Option(0, min=0, help="Days until it ends; 0 for never."),
    requests_per_minute: int = typer.Option(0, min=0, help="0 for no bound."),
    tokens_per_minute: int = typer.Option(0, min=0, help="0 for no bound."),
    tokens_per_day: int = typer.Option(0, min=0, help="0 for no bound."),
    tokens_per_month: int = typer.Option(0, min=0, help="0 for no bound."),
    tokens_in_total: int = typer.Option(0, min=0, help="0 for no bound."),
) -> None:
    """Create a key and print its secret, this once: nobody can show it again."""
    output: Output = context.obj
    options: dict[str, Any] = {"owner": f"owners/{owner.removeprefix('owners/')}"}
    options["limits"] = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
        "tokens_per_month": tokens_per_month,
        "tokens_in_total": tokens_in_total,
    }
    if days:
        options["expire_time"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    with output.connect() as client:
        made = client.create_key(display_name, scope, **options)
    if output.as_json:
        output.show({"key": made.raw, "secret": made.secret})
    else:
        output.say(made.secret)
        typer.echo(f"{made.name} · the line above is its secret and cannot be shown again", err=True)


def list_keys(context: typer.Context) -> None:
    """List keys, newest first, with what each has done."""
    output: Output = context.obj
    with output.connect() as client:
        output.table(_COLUMNS, [key if output.as_json else _row(key) for key in client.api_keys()])


def revoke_key(context: typer.Context, key: str) -> None:
    """End a key for good."""
    output: Output = context.obj
    with output.connect() as client:
        answer = client.revoke_key(key)
    if output.as_json:
        output.show(answer)
    else:
        output.say(f"{answer['name']} opens nothing any more")


def _row(key: Mapping[str, Any]) -> dict[str, object]:
    usage = key.get("usage") or {}
    state = "revoked" if key.get("revoke_time") else f"until {key.get('expire_time') or 'revoked'}"
    return {
        "name": key["name"],
        "for": key.get("display_name", ""),
        "owner": str(key.get("owner", "")).removeprefix("owners/"),
        "may": ", ".join(key.get("scopes") or ()),
        "state": state,
        "tokens": f"{int(usage.get('tokens_in_total', 0)):,}",
        "last used": key.get("last_used_time") or "never",
    }
