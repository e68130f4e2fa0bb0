"""The local store that an S3 store keeps of itself, which forgets what was not used for longest.

uses/<sha256>           its time is that of the artifact's last use; whoever uses it holds a lock on it

A lock is held until `used_within` ends, or else as long as the process lives: nothing that somebody
uses is ever removed, by whichever process.
"""

import fcntl
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from vermeil_errors import DataCorrupted, OutOfSpace, VermeilError
from vermeil_telemetry import get_logger

from vermeil_artifacts.local import LocalStore
from vermeil_artifacts.manifest import check_digest
from vermeil_artifacts.sweep import sweep

T = TypeVar("T")
_UNCOUNTED = 0.01
"""Share of the cache by which it may grow before its files, which may be many, are counted again."""
_within: ContextVar[ExitStack | None] = ContextVar("vermeil_artifacts_used_within", default=None)
_logger = get_logger(__name__)


@contextmanager
def used_within() -> Iterator[None]:
    """What is fetched inside is used inside only; a cache may forget it later.

    Counts for the calling thread and what carries its context, such as `asyncio.to_thread`.
    """
    with ExitStack() as stack:
        token = _within.set(stack)
        try:
            yield
        finally:
            _within.reset(token)


class Cache(LocalStore):
    """A local store of at most `max_bytes`, and whatever more is in use."""

    def __init__(self, root: Path, max_bytes: float) -> None:
        super().__init__(root)
        self._max_bytes = max_bytes
        self._uses = self.root / "uses"
        self._for_good: dict[str, int] = {}
        """Descriptors of the locks that this process holds until it ends, by name."""
        self._num_new: float = math.inf
        """Bytes that have come since all fitted when last counted."""
        with self._layout.errors_named():
            self._uses.mkdir(exist_ok=True)

    def with_room(self, work: Callable[[], T]) -> T:
        """Do what relies on what is here, which stays meanwhile; then forget what is too much.

        Where the disk is full all that nobody uses is forgotten, and the work begun anew, once.
        """
        try:
            with self.kept():
                done = work()
        except OutOfSpace:
            if not self.forget(max_bytes=0):
                raise
            with self.kept():
                done = work()
        if self._num_new > _UNCOUNTED * self._max_bytes:
            self.forget(max_bytes=self._max_bytes)
        return done

    def grew(self, num_bytes: int) -> None:
        """Whoever brings files here says how much that was."""
        self._num_new += num_bytes

    def use(self, digest: str) -> None:
        """Hold an artifact that is there; only inside of `kept`."""
        name, stack, now = check_digest(digest), _within.get(), time.time_ns()
        if name in self._for_good:
            os.utime(self._for_good[name], ns=(now, now))
            return
        descriptor = self._open_use(name)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor, ns=(now, now))  # finer than the system's own
        if stack is None:
            self._for_good[name] = descriptor
        else:
            stack.callback(os.close, descriptor)

    def forget(self, *, max_bytes: float) -> int:
        """Remove what nobody uses, the longest unused first, until the rest fits; how many bytes went.

        Does nothing while somebody fetches or publishes: who ends after them will do it. A failure is
        only logged, for what was asked of the store has succeeded.
        """
        try:
            with self._layout.errors_named():
                if sum(self._sizes().values()) > max_bytes:
                    with self._layout.locked_unless_busy() as is_alone:
                        return self._forget(max_bytes) if is_alone else 0
                self._num_new = 0
        except VermeilError as error:
            _logger.warning("the cache could not be made smaller", error=str(error))
        return 0

    def _sizes(self) -> dict[str, int]:
        sizes = {}
        for blob in os.scandir(self._layout.blobs):
            with suppress(FileNotFoundError):
                sizes[blob.name] = blob.stat().st_size
        return sizes

    def _forget(self, max_bytes: float) -> int:
        needs = self._needs()
        sizes, users = self._sizes(), Counter(blob for blobs in needs.values() for blob in blobs)
        num_bytes = sum(sizes.get(blob, 0) for blob in users)
        for name in sorted(needs, key=self._last_use):
            if num_bytes <= max_bytes:
                break
            if not self._is_used(name):
                blobs = needs.pop(name)
                users.subtract(blobs)
                num_bytes -= sum(sizes.get(blob, 0) for blob in blobs if not users[blob])
        gone = sweep(self._layout, needs.keys(), timedelta(0))
        for use in self._uses.iterdir():
            if use.name not in needs and not self._is_used(use.name):
                use.unlink()
        _logger.info("made the cache smaller", artifacts=gone.num_manifests, num_bytes=gone.num_bytes)
        return gone.num_bytes

    def _needs(self) -> dict[str, set[str]]:
        """The blobs of each artifact; one whose manifest is spoilt is of no use."""
        needs = {}
        for path in self._layout.manifests.iterdir():
            with suppress(DataCorrupted):
                needs[path.name] = {entry.sha256 for entry in self.manifest(f"sha256:{path.name}").files}
        return needs

    def _last_use(self, name: str) -> int:
        with suppress(FileNotFoundError):
            return (self._uses / name).stat().st_mtime_ns
        return 0  # only made here, or by an older version

    def _is_used(self, name: str) -> bool:
        """Nobody begins to use it before the store's lock is free again."""
        descriptor = self._open_use(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _open_use(self, name: str) -> int:
        return os.open(self._uses / name, os.O_RDWR | os.O_CREAT, 0o644)
