"""The worker process of a local Vermeil: every kind of job, from one Celery worker.

Ends by itself when the `vermeil up` that started it is gone.
"""

import os
import sys

import vermeil_encoders_image.tasks
import vermeil_encoders_text.tasks
import vermeil_evaluator.tasks
import vermeil_ingest.tasks
import vermeil_trainer.tasks
from celery.signals import worker_ready  # type: ignore[import-untyped]
from vermeil_jobs import make_app, run_worker
from vermeil_telemetry import configure

from vermeil_local.home import Home
from vermeil_local.orphans import end_with
from vermeil_local.settings import LocalSettings

_MODULES = (
    vermeil_ingest.tasks,
    vermeil_encoders_text.tasks,
    vermeil_encoders_image.tasks,
    vermeil_trainer.tasks,
    vermeil_evaluator.tasks,
)


def main(parent: int) -> None:
    """Work on jobs until told to stop, or until the process `parent` is gone."""
    end_with(parent)
    settings = LocalSettings.load()
    configure("worker", level=settings.log_level, format=settings.log_format)
    app = make_app(settings.broker_url, settings.home)
    queues = [queue for module in _MODULES for queue in module.register(app)]
    ready = Home(settings.home).worker_ready
    worker_ready.connect(lambda **_: ready.write_text(str(os.getpid())), weak=False)
    run_worker(app, queues, concurrency=settings.worker_concurrency)


if __name__ == "__main__":
    main(parent=int(sys.argv[1]))
