"""vermeil-registry: serve until told to stop."""

import sys

from vermeil_errors import VermeilError
from vermeil_rpc import run
from vermeil_telemetry import configure, start_metrics_server

from vermeil_registry.settings import RegistrySettings
from vermeil_registry.wiring import build


def main() -> int:
    """Serve; the exit code says why it ended."""
    try:
        settings = RegistrySettings.load()
        configure("registry", level=settings.log_level, format=settings.log_format)
        start_metrics_server(settings.metrics_port)
        run(lambda: build(settings), settings.bind, settings)
    except VermeilError as error:
        print(f"vermeil-registry: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
