"""VERMEIL_HOME: what lies where, and who runs on it.

One `vermeil up` at a time holds the lock of a home. The lock is the kernel's, so it goes with the
process that held it, however that process ended.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vermeil_client.settings import ENDPOINT_FILE
from vermeil_errors import Conflict, InvalidInput


@dataclass(frozen=True)
class Running:
    """A `vermeil up` at work."""

    pid: int
    """Its process."""
    url: str
    """Where its gateway answers."""
    address: str
    """Where most of its services answer (gRPC), host:port."""
    image_encoder: str
    """Where its image encoder answers (gRPC), a socket: it is the same service as the text encoder."""
    generator: str
    """Where its generator answers (gRPC), a socket: it is a process of its own."""
    demo: str = ""
    """Where its demo answers; empty where it has none."""


@dataclass(frozen=True)
class Home:
    """The folder that holds everything a local Vermeil keeps."""

    path: Path
    """Absolute."""

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.path / "logs"

    @property
    def worker_ready(self) -> Path:
        """Exists while the worker listens."""
        return self.path / "worker.ready"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            InvalidInput: The home cannot be written.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InvalidInput.for_field(
                "VERMEIL_HOME",
                str(self.path),
                f"cannot be written ({error.strerror})",
                "name a folder of yours",
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the home; only one process can.

        Raises:
            Conflict: Another `vermeil up` holds it.
        """
        self.prepare()
        with self._lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._taken() from error
            self._endpoint.unlink(missing_ok=True)  # of one that was killed
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield
            finally:
                self._endpoint.unlink(missing_ok=True)
                self.worker_ready.unlink(missing_ok=True)

    def announce(self, running: Running) -> None:
        """Write down where this `vermeil up` answers, for commands on this machine."""
        body = json.dumps(asdict(running))
        draft = self._endpoint.with_suffix(".new")
        draft.write_text(body)
        draft.replace(self._endpoint)

    def running(self) -> Running | None:
        """The `vermeil up` that holds this home and has announced itself, if there is one."""
        if not self.is_held():
            return None
        try:
            body = json.loads(self._endpoint.read_text())
            return Running(**body)
        except (OSError, ValueError, TypeError):
            return None

    def holder(self) -> int | None:
        """The process that holds this home, also one that only begins, or is of another version."""
        if not self.is_held():
            return None
        try:
            return int(json.loads(self._endpoint.read_text())["pid"])
        except (OSError, ValueError, TypeError, KeyError):
            text = self._lock_file.read_text()
            return int(text) if text.isdecimal() else None

    def require_unheld(self) -> None:
        """Refuse if another process holds this home now.

        Raises:
            Conflict: It does.
        """
        if self.is_held():
            raise self._taken()

    def is_held(self) -> bool:
        """Whether a process holds this home."""
        if not self._lock_file.exists():
            return False
        with self._lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def _taken(self) -> Conflict:
        running = self.running()
        who = f" as process {running.pid} at {running.url}" if running else ""
        return Conflict(
            f"Vermeil already runs on {self.path}{who}",
            fix="use it, stop it with `vermeil down`, or set VERMEIL_HOME to another folder",
        )

    @property
    def _lock_file(self) -> Path:
        return self.path / "up.lock"

    @property
    def _endpoint(self) -> Path:
        return self.path / ENDPOINT_FILE
