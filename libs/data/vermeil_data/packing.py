"""Which samples of a mixture go into which rows: first fit, with a few that wait for room.

Tasks take turns so that each has had its share at any time. All that must be known to go on is how many
samples each task has handed out and which ones wait.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vermeil_data.arrays import Int64s
from vermeil_data.mixed_tasks import TaskSamples

LOOK_AHEAD = 32
"""Samples that wait for a row with room before rows are closed."""
_MEASURED_AT_ONCE = 256


class Placed(NamedTuple):
    """A sample and where it lies."""

    task: int
    number: int
    """Which sample of the task."""
    row: int
    place: int
    """How many samples lie before it in its row."""
    text: int
    """Its first text slot."""
    picture: int
    """Its first picture slot."""


class Waiting(NamedTuple):
    """A sample that has been handed out and not placed yet."""

    task: int
    number: int
    text: int
    """Slots it needs."""
    pictures: int


class Packer:
    """Fills rows of fixed size, some at a time."""

    def __init__(
        self,
        tasks: Sequence[TaskSamples],
        shares: Sequence[float],
        num_rows: int,
        text_slots: int,
        picture_slots: int,
    ) -> None:
        self._tasks, self._shares = tasks, shares
        self._num_rows, self._text_slots, self._picture_slots = num_rows, text_slots, picture_slots
        self._measured = [_Measured(task) for task in tasks]
        self.restore([0] * len(tasks), [])

    @property
    def drawn(self) -> tuple[int, ...]:
        """Samples handed out of each task."""
        return tuple(self._drawn)

    @property
    def waiting(self) -> tuple[tuple[int, int], ...]:
        """Task and number of those that wait."""
        return tuple((sample.task, sample.number) for sample in self._waiting)

    def restore(self, drawn: Sequence[int], waiting: Sequence[tuple[int, int]]) -> None:
        """Go on from there."""
        self._drawn = list(drawn)
        self._waiting = [self._sample(task, number) for task, number in waiting]

    def rows(self) -> list[Placed]:
        """The samples of the next rows, in the order in which they were placed."""
        rows = _Rows(self._num_rows, self._text_slots, self._picture_slots)
        found: list[Placed] = []
        waiting: list[Waiting] = []
        queue = iter(self._waiting)
        while len(waiting) < LOOK_AHEAD:
            sample = next(queue, None) or self._next()
            placed = rows.place(sample)
            if placed is None:
                waiting.append(sample)
            else:
                found.append(placed)
        self._waiting = [*waiting, *queue]
        return found

    def _next(self) -> Waiting:
        task = min(range(len(self._drawn)), key=lambda index: (self._drawn[index] + 1) / self._shares[index])
        number = self._drawn[task]
        self._drawn[task] += 1
        return self._sample(task, number)

    def _sample(self, task: int, number: int) -> Waiting:
        return Waiting(task, number, *self._measured[task].size(number))


class _Measured:
    """Sizes of a task's samples, many at a time."""

    def __init__(self, task: TaskSamples) -> None:
        self._task = task
        self._start = 0
        self._sizes: list[tuple[int, int]] = []

    def size(self, number: int) -> tuple[int, int]:
        if not 0 <= number - self._start < len(self._sizes):
            self._start = number - number % _MEASURED_AT_ONCE
            text_K, pictures_K = self._task.sizes(np.arange(self._start, self._start + _MEASURED_AT_ONCE))
            self._sizes = list(zip(text_K.tolist(), pictures_K.tolist(), strict=True))
        return self._sizes[number - self._start]


class _Rows:
    """Room left in rows."""

    def __init__(self, num_rows: int, text_slots: int, picture_slots: int) -> None:
        self._text_slots, self._picture_slots = text_slots, picture_slots
        self._text_R: Int64s = np.full(num_rows, text_slots)
        self._pictures_R: Int64s = np.full(num_rows, picture_slots)
        self._samples_R = [0] * num_rows
        self._refused: list[tuple[int, int]] = []
        """Sizes that no row has room for any more."""

    def place(self, sample: Waiting) -> Placed | None:
        """The first row with room takes it."""
        if any(sample.text >= text and sample.pictures >= pictures for text, pictures in self._refused):
            return None
        fits_R = (self._text_R >= sample.text) & (self._pictures_R >= sample.pictures)
        row = int(fits_R.argmax())
        if not fits_R[row]:
            self._refused.append((sample.text, sample.pictures))
            return None
        text = self._text_slots - int(self._text_R[row])
        picture = self._picture_slots - int(self._pictures_R[row])
        placed = Placed(sample.task, sample.number, row, self._samples_R[row], text, picture)
        self._text_R[row] -= sample.text
        self._pictures_R[row] -= sample.pictures
        self._samples_R[row] += 1
        return placed
