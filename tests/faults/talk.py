"""Somebody who talks with a model all the while: answers come whole, or with an error that may be retried."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from ride import may_be_asked_again
from vermeil_client import Vermeil
from vermeil_errors import VermeilError

_PAUSE = 6.0
"""Seconds between an answer and the next question."""


@dataclass
class Talk:
    """Asks the same again and again, one at a time, from `with` to its end."""

    ask: Callable[[Vermeil, str], str]
    url: str
    model: str
    expected: str
    num_asked: int = 0
    num_answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds, of answers and refusals."""
    last_answer: float = 0.0
    """time.monotonic() of it."""
    asked: float = 0.0
    """time.monotonic() of the last question."""

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talk", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def ends_within(self, seconds: float) -> bool:
        """Whether the last question came to an end."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with Vermeil(self.url) as client:
            while not self._over.wait(_PAUSE):
                self.num_asked += 1
                self.asked = time.monotonic()
                self._ask(client)
                self.slowest = max(self.slowest, time.monotonic() - self.asked)

    def _ask(self, client: Vermeil) -> None:
        try:
            said = self.ask(client, self.model)
        except VermeilError as error:
            if may_be_asked_again(error):
                self.refused[error.reason] += 1
            else:
                self.wrong.append(f"{error.reason}: {error}")
        except Exception as error:
            self.wrong.append(f"{type(error).__name__}: {error}")
        else:
            if said == self.expected:
                self.num_answered += 1
                self.last_answer = time.monotonic()
            else:
                self.wrong.append(f"said {said!r} in place of {self.expected!r}")
