"""Doorbell: tells workers that a job is ready. It carries a name, never the truth.

A ring may be lost, late or doubled: the claim decides, and the sweeper rings again.
"""

from threading import Lock
from typing import Protocol

from celery import Celery  # type: ignore[import-untyped]
from kombu.connection import Connection
from kombu.exceptions import KombuError
from vermeil_errors import Unavailable

from vermeil_jobs.job import Job

_ANSWER_SECONDS = 5.0
"""For a broker to say that it has the ring."""


class Doorbell(Protocol):
    """Something that can be rung for a job."""

    def ring(self, job: Job) -> None:
        """Ring the job's queue; raises Unavailable where that cannot be done now."""
        ...


class CeleryDoorbell:
    """Rings through the Celery broker, over a connection of its own: one that failed once is not used again.

    A broker that takes the ring and says nothing, frozen, full or behind a dead network, has failed too.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None
        self._ringing = Lock()

    def ring(self, job: Job) -> None:
        """Send the task named like the job's kind, with the job's name."""
        with self._ringing:
            connection = self._connection or self._app.connection_for_write(heartbeat=0)  # none beats
            self._connection = None
            try:
                self._send(job, connection)
            except (KombuError, OSError, *connection.connection_errors, *connection.channel_errors) as error:
                connection.collect(_ANSWER_SECONDS)
                raise Unavailable(f"the broker cannot be reached: {error}") from error
            self._connection = connection

    def close(self) -> None:
        """Give the connection up; the next ring makes another."""
        with self._ringing:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.collect(_ANSWER_SECONDS)  # type: ignore[no-untyped-call]

    def _send(self, job: Job, connection: Connection) -> None:
        if not connection.connected:
            connection.connect()  # type: ignore[no-untyped-call]
        self._app.send_task(
            job.kind,
            args=[{"job": job.name}],
            connection=connection,
            queue=job.queue,
            headers={"traceparent": job.traceparent, "request_id": job.request_id},
            ignore_result=True,
            retry=False,
            confirm_timeout=_ANSWER_SECONDS,
        )


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
