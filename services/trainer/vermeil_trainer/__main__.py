"""`python -m vermeil_trainer` serves; `… worker` does the jobs; `… RECIPE --dataset …` trains by hand."""

import sys

from vermeil_errors import OutOfSpace, VermeilError, from_exception
from vermeil_jobs import make_app, run_worker
from vermeil_rpc import run
from vermeil_telemetry import configure, start_metrics_server

from vermeil_trainer.by_hand import by_hand
from vermeil_trainer.settings import TrainerSettings
from vermeil_trainer.tasks import register
from vermeil_trainer.wiring import build


def main(*arguments: str) -> int:
    """Run until told to stop; the exit code says why it ended."""
    try:
        if arguments and arguments[0] != "worker":
            by_hand(arguments)
            return 0
        settings = TrainerSettings.load()
        configure("trainer", level=settings.log_level, format=settings.log_format)
        start_metrics_server(settings.metrics_port)
        if arguments:
            app = make_app(settings.broker_url, settings.home)
            return run_worker(app, register(app, settings))
        run(lambda: build(settings), settings.bind, settings)
    except VermeilError as error:
        sys.stderr.write(f"vermeil-trainer: {error}\n")
        return error.exit_code
    except OSError as error:
        known = from_exception(error)
        if not isinstance(known, OutOfSpace):
            raise
        sys.stderr.write(f"vermeil-trainer: {known}\n")
        return known.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
