"""The broker without a server: a queue is a folder, a message is a file.

Kombu's own filesystem transport shows a message before it is written whole, needs a table of
exchanges that two processes may damage, and moves files through /tmp. Here a message appears by
rename, is taken by unlink (only one can), and goes to the queue named by its routing key.
"""

import itertools
import json
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import virtual
from vermeil_telemetry import get_logger

from vermeil_jobs.wake import FolderWatch

_logger = get_logger(__name__)
_order = itertools.count()
_HALF_WRITTEN_SECONDS = 5.0
_LONGEST_WAIT = 0.2
POLLING_SECONDS = 0.01
"""How often a worker looks for messages when nobody tells it, or when it has its hands full."""


class Channel(virtual.Channel):
    """Puts and takes messages; only direct delivery, as doorbells need."""

    def _put(self, queue: str, message: dict[str, Any], **_options: object) -> None:
        folder = self._folder
        name = f"{time.time_ns():020d}-{next(_order):06d}-{uuid.uuid4().hex}.{queue}.msg"
        staged = folder / f"{name}.part"
        staged.write_text(json.dumps(message))
        staged.replace(folder / name)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002
        for path in self._paths(queue):
            message = _read(path)
            if message is None:
                continue
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            return message
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._paths(queue))

    def _purge(self, queue: str) -> int:
        paths = self._paths(queue)
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:  # noqa: ARG002
        return [routing_key]

    def _paths(self, queue: str) -> list[Path]:
        ending = f".{queue}.msg"
        names = sorted(name for name in os.listdir(self._folder) if name.endswith(ending))  # noqa: PTH208
        return [self._folder / name for name in names]

    @property
    def _folder(self) -> Path:
        return folder_of(self.connection)


class Transport(virtual.Transport):
    """Names the channel for kombu."""

    Channel = Channel
    global_state = virtual.BrokerState()  # type: ignore[no-untyped-call]
    driver_type = "filesystem"
    driver_name = "vermeil-folder"

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)  # type: ignore[no-untyped-call]
        self._watch: FolderWatch | None = None

    def drain_events(self, connection: Any, timeout: float | None = None, **_options: object) -> None:  # noqa: ARG002
        """Deliver a message; wait for one, but not long: in between a worker sees that it is to stop."""
        watch = self._watch = self._watch or FolderWatch(folder_of(self), nap=POLLING_SECONDS)
        end = time.monotonic() + (_LONGEST_WAIT if timeout is None else min(timeout, _LONGEST_WAIT))
        assert self.cycle is not None
        while True:
            try:
                self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[no-untyped-call]
            except Empty:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError from None
                is_full = any(not channel.qos.can_consume() for channel in self.channels)
                watch.wait(min(left, POLLING_SECONDS) if is_full else left)
            else:
                return

    def close_connection(self, connection: Any) -> None:
        """Close the channels and the watch."""
        super().close_connection(connection)  # type: ignore[no-untyped-call]
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def driver_version(self) -> str:
        """Shown by Celery at start-up."""
        return "1"


def folder_of(transport: Any) -> Path:
    """The folder that a transport's messages are in."""
    return Path(transport.client.transport_options["folder"])


def _read(path: Path) -> dict[str, Any] | None:
    """A message, or None if it is gone, half written by a foreign writer, or broken for good."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        try:
            is_old = time.time() - path.stat().st_mtime > _HALF_WRITTEN_SECONDS
        except FileNotFoundError:
            return None
        if is_old:
            _logger.warning("set a broken message aside", path=str(path))
            path.rename(path.with_suffix(".broken"))
        return None
    return content if isinstance(content, dict) else None
