"""Keys of the gateway: create, list, revoke; and who changed what with them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import typer
from vermeil_errors import InvalidInput

from vermeil_client.commands.output import Output

ROLES = {"reader": ["read"], "submitter": ["inference", "read", "submit"], "admin": ["admin"]}
"""What people do, as the scopes that it takes."""
_COLUMNS = ["name", "for", "owner", "may", "state", "tokens", "last used"]


def add_commands(app: typer.Typer) -> None:
    """Add them to the app."""
    keys = typer.Typer(help="Hand out keys of the gateway, and take them back.", no_args_is_help=True)
    keys.command("create")(create_key)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke_key)
    app.add_typer(keys, name="keys")
    app.command("audit")(list_audit_events)


def create_key(
    context: typer.Context,
    display_name: str = typer.Argument("", help="What it is for."),
    scope: list[str] = typer.Option([], help="inference, read, submit or admin; may be repeated."),
    role: str = typer.Option("", help="reader, submitter or admin: the scopes that such a person needs."),
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
    if role and role not in ROLES:
        raise InvalidInput.for_field("--role", role, "is no role", f"write one of {', '.join(ROLES)}")
    scopes = list(dict.fromkeys([*ROLES.get(role, ()), *scope])) or ["inference"]
    options: dict[str, Any] = {"owner": f"owners/{owner.removeprefix('owners/')}"}
    options["limits"] = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
        "tokens_per_month": tokens_per_month,
        "tokens_in_total": tokens_in_total,
    }
    if days:
        options["expire_time"] = _end_after(days)
    with output.connect() as client:
        made = client.create_key(display_name, scopes, **options)
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


def list_audit_events(
    context: typer.Context,
    caller: str = typer.Option("", help="Only of this caller, such as keys/0123456789abcdef."),
    resource: str = typer.Option("", help="Only about this, such as jobs/01m8kx1qg33nv8nfmw."),
    limit: int = typer.Option(100, min=1, help="Newest this many."),
) -> None:
    """Show who changed what, newest first; needs an admin's key."""
    output: Output = context.obj
    columns = ["time", "caller", "action", "resource", "status", "trace_request_id"]
    with output.connect() as client:
        output.table(columns, islice(client.audit_events(caller, resource), limit))


def _end_after(days: float) -> str:
    try:
        return (datetime.now(UTC) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError) as error:
        fix = "write a number of days that ends before the year 10000, or 0 for never"
        raise InvalidInput.for_field("--days", days, "leads to no date", fix) from error


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
