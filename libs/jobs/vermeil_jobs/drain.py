"""Drain: whether this worker process has been told to stop."""

import threading


class Drain:
    """Starts once, never ends; safe from signal handlers and threads."""

    def __init__(self) -> None:
        self._started = threading.Event()

    def start(self) -> None:
        """From now on every job in this process is to be given back."""
        self._started.set()

    @property
    def started(self) -> bool:
        """True once the worker has been told to stop."""
        return self._started.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for the drain to start, at most so long; True if it has."""
        return self._started.wait(seconds)
