"""FolderWatch: waits until a file appears in a folder, without looking all the time.

Linux tells (inotify); elsewhere it is plain short sleeping.
"""

import ctypes
import os
import select
import time
from pathlib import Path

_MOVED_TO_OR_WRITTEN = 0x80 | 0x08
_BUFFER_BYTES = 65_536


class FolderWatch:
    """What has appeared since it was made, or since the last wait, ends the next wait at once."""

    def __init__(self, folder: Path, *, nap: float) -> None:
        self._nap = nap
        self._descriptor = _open(folder)
        self._poll = select.poll()
        if self._descriptor is not None:
            self._poll.register(self._descriptor, select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Return when something has appeared, or after so long, or a nap later where nobody tells."""
        if self._descriptor is None:
            time.sleep(min(seconds, self._nap))
        elif self._poll.poll(seconds * 1000):
            os.read(self._descriptor, _BUFFER_BYTES)

    def close(self) -> None:
        """Watch no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(folder: Path) -> int | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        descriptor = int(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        watch = library.inotify_add_watch(descriptor, os.fsencode(folder), _MOVED_TO_OR_WRITTEN)
    except (AttributeError, OSError):
        return None
    if descriptor < 0 or watch < 0:
        if descriptor >= 0:
            os.close(descriptor)
        return None
    return descriptor
