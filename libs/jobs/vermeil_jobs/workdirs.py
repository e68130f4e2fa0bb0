"""Workdirs: a folder for each job under $VERMEIL_HOME/jobs, kept between attempts.

A folder is locked while an attempt runs in it, so that a worker thought dead and the one that took
over never write there at once; the lock dies with its process.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vermeil_errors import Unavailable, VermeilError
from vermeil_telemetry import get_logger

from vermeil_jobs.client import JobClient
from vermeil_jobs.names import job_id

_PAUSE = 0.1
_logger = get_logger(__name__)


class Workdirs:
    """The folders of the jobs on this machine."""

    def __init__(self, home: Path) -> None:
        self._root = home / "jobs"

    def path(self, name: str) -> Path:
        """Where a job's folder is, or would be."""
        return self._root / job_id(name)

    @contextmanager
    def held(self, name: str, check: Callable[[], None], *, patience: float = 30.0) -> Iterator[Path]:
        """Make and lock the folder; `check` is asked while another process still has it."""
        path = self.path(name)
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            end = time.monotonic() + patience
            while not _lock(descriptor):
                check()
                if time.monotonic() >= end:
                    raise Unavailable(f"another worker still has {path}", fix="end that process")
                time.sleep(_PAUSE)
            yield path
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Delete the folder of a job that is over."""
        shutil.rmtree(self.path(name), ignore_errors=True)

    def clean(self, client: JobClient, *, older_than: float = 86_400.0, limit: int = 20) -> None:
        """Delete folders left behind by jobs that ended elsewhere; looks at `limit` old ones."""
        end = time.time() - older_than
        for path in [path for path in self._root.iterdir() if _modified(path) < end][:limit]:
            try:
                over = client.get(f"jobs/{path.name}").state.is_final
            except VermeilError as error:
                _logger.warning("left a folder of an unknown job alone", path=str(path), error=str(error))
                continue
            if over:
                shutil.rmtree(path, ignore_errors=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
