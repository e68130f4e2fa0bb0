"""The Celery application: JSON only, late acknowledgement, one message at a time, no results.

Celery carries doorbells and nothing else; what it cannot promise, the registry's row does.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery import Celery  # type: ignore[import-untyped]
from celery.signals import worker_shutting_down  # type: ignore[import-untyped]
from vermeil_errors import InvalidInput

from vermeil_jobs.drain import Drain
from vermeil_jobs.folder import POLLING_SECONDS
from vermeil_jobs.kind import JobKind

_SCHEMES = ("filesystem", "amqp", "amqps", "pyamqp", "redis", "rediss", "memory")
_SILENCE_SECONDS = 5
"""From a broker that should have answered, until the connection counts as dead; of RabbitMQ's heartbeats it
takes four of these."""


class JobsApp(Celery):  # type: ignore[misc]
    """A Celery application that knows its kinds of work by queue and name, and when it is told to stop."""

    def __init__(self, home: Path, **options: object) -> None:
        super().__init__("vermeil", set_as_current=False, **options)
        self.home = home
        self.drain = Drain()
        self.kinds: dict[str, dict[str, JobKind[Any, Any]]] = {}
        worker_shutting_down.connect(self._on_shutting_down, weak=False)

    def _on_shutting_down(self, **_details: object) -> None:
        self.drain.start()


def make_app(broker_url: str, home: Path) -> JobsApp:
    """The application for producers and workers alike; `home` holds the folders of jobs and queues.

    `filesystem://` keeps the queues in home/broker, `filesystem:///folder` in another folder.
    """
    scheme, slashes, place = broker_url.partition("://")
    if not slashes or scheme not in _SCHEMES:
        known = f"use one of {', '.join(_SCHEMES)}, and :// after it"
        shown = scheme if slashes else None  # without, there may be a password in it
        raise InvalidInput.for_field("VERMEIL_BROKER_URL", shown, "is not a broker we know", known)
    _check_place(broker_url)
    options: dict[str, Any] = {"broker": broker_url}
    if scheme == "filesystem":
        folder = Path(place) if place else home / "broker"
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "broker": "filesystem://localhost//",
            "broker_transport": "vermeil_jobs.folder:Transport",
            "broker_transport_options": {"folder": str(folder)},
        }
    elif scheme.startswith("redis"):
        options["broker_transport_options"] = {
            "visibility_timeout": 10,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "polling_interval": POLLING_SECONDS,
            "socket_connect_timeout": 2,
            "socket_timeout": _SILENCE_SECONDS,
            "health_check_interval": _SILENCE_SECONDS,
        }
    elif scheme != "memory":
        options["broker_transport_options"] = {"confirm_publish": True}
        options["broker_heartbeat"] = 2 * _SILENCE_SECONDS
    app = JobsApp(home, broker=options.pop("broker"))
    app.conf.update(
        **options,
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_default_queue="unrouted",
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Celery restores a reduced count from the thread that ran the task, which then reads from the
        # connection beside the event loop: each waits for what the other has read, and no SIGTERM helps.
        worker_enable_prefetch_count_reduction=False,
        worker_detect_quorum_queues=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=2,
        broker_connection_max_retries=None,  # after 100, the default, a worker goes deaf
        # RabbitMQ closes the channel of who works for more than half an hour; by default the worker ends.
        broker_channel_error_retry=True,
    )
    return app


def _check_place(broker_url: str) -> None:
    """A password with a slash in it looks like a port, which every later error would tell a part of."""
    try:
        urlsplit(broker_url).port  # noqa: B018  it is read here, not before
    except ValueError:
        raise InvalidInput(
            "is no URL: what stands for its port is no number (what was set is not repeated here)",
            field="VERMEIL_BROKER_URL",
            fix="write / ? # @ : of a password as %2F %3F %23 %40 %3A",
        ) from None
