"""Doorbell: tells workers that a job is ready. It carries a name, never the truth.

A ring may be lost, late or doubled: the claim decides, and the sweeper rings again.
"""

from typing import Protocol

from celery import Celery  # type: ignore[import-untyped]
from kombu.exceptions import KombuError
from vermeil_errors import Unavailable

from vermeil_jobs.job import Job


class Doorbell(Protocol):
    """Something that can be rung for a job."""

    def ring(self, job: Job) -> None:
        """Ring the job's queue; raises Unavailable where that cannot be done now."""
        ...


class CeleryDoorbell:
    """Rings through the Celery broker."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self, job: Job) -> None:
        """Send the task named like the job's kind, with the job's name."""
        try:
            self._app.send_task(
                job.kind,
                args=[{"job": job.name}],
                queue=job.queue,
                headers={"traceparent": job.traceparent, "request_id": job.request_id},
                ignore_result=True,
                retry=False,
            )
        except (KombuError, OSError) as error:
            raise Unavailable(f"the broker cannot be reached: {error}") from error


class RecordingDoorbell:
    """A fake: remembers who was rung for, and can be broken."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.broken = False

    def ring(self, job: Job) -> None:
        """Remember the name."""
        if self.broken:
            raise Unavailable("the broker cannot be reached: broken by the test")
        self.rung.append(job.name)

    def take(self) -> list[str]:
        """The names since the last call."""
        rung, self.rung = self.rung, []
        return rung
