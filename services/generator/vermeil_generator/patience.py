"""Who would wait too long is told so at once, and when to come again.

A queue that is longer than what gets done in the time that callers have only makes all of them late. How
long a turn takes is what turns lately took, or those under way, should they take longer.
"""

import math
from collections import deque
from collections.abc import Callable, Collection
from time import monotonic

from vermeil_errors import Overloaded

RETRY_AFTER = "retry_after"
"""In an error's metadata: seconds after which to come again."""
_MOST_SECONDS = 60
"""Clients of OpenAI's follow no longer advice."""
_LATELY = 32


class Patience:
    """How long a wait is worth it, and how long one is going to be.

    Args:
        seconds: The longest wait.
        clock: Seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._lately: deque[float] = deque(maxlen=_LATELY)
        self.now = clock
        """What the times of `took` and `expected` are read from."""

    def took(self, since: float) -> None:
        """A turn that began then is over."""
        self._lately.append(self.now() - since)

    def expected(self, turns: float, under_way: Collection[float] = ()) -> float:
        """Seconds that so many turns take, one after the other.

        `under_way` says when the present ones began.
        """
        lately = tuple(self._lately)
        took = sum(lately) / len(lately) if lately else 0.0
        so_far = self.now() - sum(under_way) / len(under_way) if under_way else 0.0
        return turns * max(took, so_far)

    def check(self, seconds: float, state: str) -> None:
        """Refuse whoever would wait so long; `state` says why that is.

        Raises:
            Overloaded: Longer than is worth it.
        """
        if seconds <= self._seconds:
            return
        again = min(_MOST_SECONDS, max(1, math.ceil(seconds - self._seconds)))
        raise Overloaded(
            f"{state}: one more would wait about {seconds:.0f} s, the limit is {self._seconds:g} s",
            fix=f"try again in {again} s",
            metadata={RETRY_AFTER: str(again)},
        )
