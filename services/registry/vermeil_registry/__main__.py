"""`python -m vermeil_registry` serves; `… backup`, `… restore`, `… collect` keep the house."""

import sys

from vermeil_errors import VermeilError
from vermeil_rpc import run
from vermeil_telemetry import configure, start_metrics_server

from vermeil_registry.by_hand import by_hand
from vermeil_registry.settings import RegistrySettings
from vermeil_registry.wiring import build


def main(*arguments: str) -> int:
    """Do it; the exit code says how it ended."""
    try:
        if arguments:
            by_hand(arguments, lambda line: print(line, flush=True))  # noqa: T201
            return 0
        settings = RegistrySettings.load()
        configure("registry", level=settings.log_level, format=settings.log_format)
        start_metrics_server(settings.metrics_port)
        run(lambda: build(settings), settings.bind, settings)
    except VermeilError as error:
        print(f"vermeil-registry: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
