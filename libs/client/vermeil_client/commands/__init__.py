"""The command line: `vermeil ingest | train | evaluate | chat | images | …`.

Other packages add commands through the entry-point group `vermeil.commands`: each entry is a function
that takes the Typer app. Errors of the one tree end a command with a sentence and their exit code.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

import typer
from vermeil_errors import VermeilError, from_exception

from vermeil_client.commands import bench, browse, download, draw, keys, measure, quotas, search, talk, work
from vermeil_client.commands.output import Output

ENTRY_POINT_GROUP = "vermeil.commands"


def build() -> typer.Typer:
    """The app with its own commands and those of installed packages."""
    app = typer.Typer(
        name="vermeil",
        help="Train, measure and serve one multimodal model, from raw data to an answer.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def _options(
        context: typer.Context,
        url: str = typer.Option("", help="Gateway to talk to; default: VERMEIL_URL or the local one."),
        json: bool = typer.Option(False, "--json", help="Print JSON for programs, one object a line."),
    ) -> None:
        context.obj = Output(url=url or None, as_json=json)

    for module in (work, measure, talk, draw, browse, download, search, keys, quotas, bench):
        module.add_commands(app)
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        entry.load()(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        build()(args=_json_first(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except VermeilError as error:
        return _complain(error)
    except OSError as error:
        return _complain(from_exception(error))
    return 0


def _json_first(arguments: Sequence[str]) -> list[str]:
    """Let `--json` stand anywhere before `--`: people write it last."""
    own = list(arguments)
    end = own.index("--") if "--" in own else len(own)
    if "--json" in own[1:end]:
        own.remove("--json")
        own.insert(0, "--json")
    return own


def _complain(error: VermeilError) -> int:
    sys.stderr.write(f"vermeil: {error}\n")
    shown = str(error)
    for violation in error.violations:
        if violation.description not in shown:
            sys.stderr.write(f"  {violation.field}: {violation.description}\n")
    return error.exit_code
