"""register: a kind of work becomes a Celery task.

A task's payload is `{"job": "jobs/…"}`, which rings for a job that exists, or the JSON of the kind's
Start…Request, which submits one as the RPC does. Both may come twice.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from celery.exceptions import Reject  # type: ignore[import-untyped]
from vermeil_errors import DeadlineExceeded, VermeilError
from vermeil_telemetry import bound, get_logger, traceparent

from vermeil_jobs.app import JobsApp
from vermeil_jobs.client import DEFAULT_LEASE, JobClient
from vermeil_jobs.kind import JobKind
from vermeil_jobs.runner import Runner

_RETRY_SECONDS = 1.0
_logger = get_logger(__name__)


def register(
    app: JobsApp,
    kind: JobKind[Any, Any],
    client: JobClient,
    *,
    heartbeat: timedelta = timedelta(seconds=1),
    lease: timedelta = DEFAULT_LEASE,
) -> None:
    """Let the workers of `app` do this kind of work."""
    kinds = app.kinds.setdefault(kind.queue, {})
    kinds[kind.name] = kind
    runner = Runner(client, kind, app.home, app.drain, heartbeat=heartbeat, lease=lease, kinds=kinds)

    def answer(task: Any, payload: object) -> None:
        request = task.request
        if app.drain.started:
            raise Reject("the worker is stopping", requeue=True)
        with traceparent(request.get("traceparent")), bound(task=kind.name):
            if not isinstance(payload, dict):
                _logger.error("dropped a message whose payload is not an object", payload=repr(payload)[:200])
            elif set(payload) == {"job"}:
                runner.run(str(payload["job"]))
            else:
                _submit(app, kind, payload, str(request.id))

    app.task(answer, name=kind.name, bind=True, acks_late=True, ignore_result=True, shared=False)


def _submit(app: JobsApp, kind: JobKind[Any, Any], payload: Mapping[str, object], task_id: str) -> None:
    while True:
        try:
            kind.submit(kind.parse_request(payload, task_id))
        except VermeilError as error:
            if not (error.retryable or isinstance(error, DeadlineExceeded)):
                _logger.warning("refused a submission", error=str(error), reason=error.reason)
                return
            _logger.warning("could not submit; trying on", error=str(error))
            if app.drain.wait(_RETRY_SECONDS):
                raise Reject(str(error), requeue=True) from error
        else:
            return
