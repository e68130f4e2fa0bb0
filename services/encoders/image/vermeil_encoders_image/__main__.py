"""`python -m vermeil_encoders_image` answers requests; with `worker` behind it, it does the jobs."""

import sys

from vermeil_errors import VermeilError
from vermeil_jobs import make_app, run_worker
from vermeil_rpc import run
from vermeil_telemetry import configure, start_metrics_server

from vermeil_encoders_image.settings import EncoderImageSettings
from vermeil_encoders_image.tasks import register
from vermeil_encoders_image.wiring import build


def main(role: str = "server") -> int:
    """Run until told to stop; the exit code says why it ended."""
    try:
        settings = EncoderImageSettings.load()
        configure("encoder-image", level=settings.log_level, format=settings.log_format)
        start_metrics_server(settings.metrics_port)
        if role == "worker":
            app = make_app(settings.broker_url, settings.home)
            return run_worker(app, register(app, settings))
        run(lambda: build(settings), settings.bind, settings)
    except VermeilError as error:
        sys.stderr.write(f"vermeil-encoders-image: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
