"""`python -m vermeil_generator` answers for GenerationService."""

import sys

from vermeil_errors import VermeilError
from vermeil_rpc import run
from vermeil_telemetry import configure, start_metrics_server

from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.wiring import build


def main() -> int:
    """Run until told to stop; the exit code says why it ended."""
    try:
        settings = GeneratorSettings.load()
        configure("generator", level=settings.log_level, format=settings.log_format)
        start_metrics_server(settings.metrics_port)
        run(lambda: build(settings), settings.bind, settings)
    except VermeilError as error:
        sys.stderr.write(f"vermeil-generator: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
