"""Changes: wakes whoever watches a job in this process; other processes are seen by slow polling."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Changes:
    """Who wants to be woken when a job changes; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)

    @contextmanager
    def subscribed(self, name: str, wake: Callable[[], object]) -> Iterator[None]:
        """Call `wake` after each change of the job, from the changing thread: it must be quick."""
        with self._lock:
            self._wakers[name].append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers[name].remove(wake)
                if not self._wakers[name]:
                    del self._wakers[name]

    def notify(self, name: str) -> None:
        """Say that a job has changed."""
        with self._lock:
            wakers = tuple(self._wakers.get(name, ()))
        for wake in wakers:
            wake()

    @property
    def num_watchers(self) -> int:
        """How many subscriptions are alive."""
        with self._lock:
            return sum(map(len, self._wakers.values()))
