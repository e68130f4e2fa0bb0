"""For tests: a turnstile before the steps of a thread, so that nothing ends before a test is done with it.

However long a test's own thread stands still, what is held has gone no further than it was let.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Turnstile:
    """Open until it is closed; then it lets through as many steps as it is told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left: float = math.inf
        self._num_waiting = 0

    @property
    def holds(self) -> bool:
        """Whether a thread stands before it, and goes on standing there."""
        with self._changed:
            return self._num_waiting > 0 and self._left == 0

    def close(self) -> None:
        """Let nothing through from now on; the step under way ends."""
        with self._changed:
            self._left = 0

    def let(self, steps: float) -> None:
        """Let so many steps more through."""
        with self._changed:
            self._left += steps
            self._changed.notify_all()

    def open(self) -> None:
        """Let everything through."""
        self.let(math.inf)

    def step(self) -> None:
        """Go through, in the thread that works."""
        with self._changed:
            self._num_waiting += 1
            self._changed.wait_for(lambda: self._left > 0)
            self._num_waiting -= 1
            self._left -= 1


@contextmanager
def before_steps(worker: type, method: str = "step") -> Iterator[Turnstile]:
    """A closed turnstile before a method of all objects of a class, while the block lasts."""
    turnstile, work = Turnstile(), getattr(worker, method)
    turnstile.close()

    def held(*args: Any, **kwargs: Any) -> Any:
        turnstile.step()
        return work(*args, **kwargs)

    with patch.object(worker, method, held):
        try:
            yield turnstile
        finally:
            turnstile.open()
