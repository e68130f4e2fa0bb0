"""Which samples of a mixture go into which rows: first fit, with a few that wait for room.

Tasks take turns so that each has had its share at any time. Samples in chat style may be told one after the
other in one conversation: of how many samples is a function of its first. All that must be known to go on
is how many samples each task has handed out and which ones wait.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vermeil_data.arrays import Int64s
from vermeil_data.mixed_tasks import TaskSamples
from vermeil_data.shuffle import hashed

LOOK_AHEAD = 32
"""Samples that wait for a row with room before rows are closed."""
NOT_AGAIN = -1
_LENGTH = 3
"""What a hash is for, beside those of mixed_tasks."""
_MEASURED_AT_ONCE = 256


class Placed(NamedTuple):
    """A sample and where it lies."""

    task: int
    number: int
    """Which sample of the task."""
    row: int
    place: int
    """How many samples and conversations lie before it, or its conversation, in its row."""
    text: int
    """Its first text slot."""
    picture: int
    """Its first picture slot."""
    position: int
    """Positions that lie before it in its conversation; 0 where it begins one."""
    again: int = NOT_AGAIN
    """Slot in which its drawn picture comes a second time, for what goes on; -1 where nothing does."""


class Waiting(NamedTuple):
    """A sample that has been handed out and not placed yet."""

    task: int
    number: int
    told: int
    """Samples of a conversation that it begins; 0 where it is in none."""
    text: int
    """Slots it needs."""
    pictures: int
    positions: int
    drawn: bool
    """It ends with a picture to be drawn."""
    answered: bool
    """It ends with what is to be learned, so that a user may go on."""


class Talk(NamedTuple):
    """How samples in chat style become conversations."""

    of_task: Sequence[bool]
    """Whether a task's samples may be told in one."""
    most: int
    """Samples of the longest: one of 1 to so many samples, all equally likely."""
    picture_step: int
    """Positions that a picture takes."""
    seed: int


class Packer:
    """Fills rows of fixed size, some at a time."""

    def __init__(
        self,
        tasks: Sequence[TaskSamples],
        shares: Sequence[float],
        talk: Talk,
        num_rows: int,
        text_slots: int,
        picture_slots: int,
    ) -> None:
        self._tasks, self._shares, self._talk = tasks, shares, talk
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
        waiting: list[Waiting] = []
        queue = iter(self._waiting)
        while len(waiting) < LOOK_AHEAD:
            sample = next(queue, None) or self._next()
            if not rows.place(sample):
                waiting.append(sample)
        self._waiting = [*waiting, *queue]
        return rows.placed

    def _next(self) -> Waiting:
        task = min(range(len(self._drawn)), key=lambda index: (self._drawn[index] + 1) / self._shares[index])
        number = self._drawn[task]
        self._drawn[task] += 1
        return self._sample(task, number)

    def _sample(self, task: int, number: int) -> Waiting:
        text, pictures, shown, *ends = self._measured[task].size(number)
        talk, told = self._talk, 0
        if talk.of_task[task] and talk.most > 1:
            told = 1 + int(hashed(np.array([number]), talk.seed, task, _LENGTH)[0]) % talk.most
        return Waiting(task, number, told, text, pictures, text + shown * talk.picture_step, *ends)


class _Measured:
    """Sizes of a task's samples, many at a time."""

    def __init__(self, task: TaskSamples) -> None:
        self._task = task
        self._start = 0
        self._sizes: list[tuple[int, int, int, bool, bool]] = []

    def size(self, number: int) -> tuple[int, int, int, bool, bool]:
        if not 0 <= number - self._start < len(self._sizes):
            self._start = number - number % _MEASURED_AT_ONCE
            sizes = self._task.sizes(np.arange(self._start, self._start + _MEASURED_AT_ONCE))
            self._sizes = list(zip(*(size_K.tolist() for size_K in sizes), strict=True))
        return self._sizes[number - self._start]


class _Conversation(NamedTuple):
    """What a row tells, and others may go on with."""

    place: int
    left: int
    """Samples that may still join."""
    positions: int
    last: int
    """Where its last sample is in the list of those placed."""
    drawn: bool
    """That one ends with a picture to be drawn."""


class _Rows:
    """Rows that are being filled."""

    def __init__(self, num_rows: int, text_slots: int, picture_slots: int) -> None:
        self.placed: list[Placed] = []
        """In the order in which they were."""
        self._text_slots, self._picture_slots = text_slots, picture_slots
        self._text_R: Int64s = np.full(num_rows, text_slots)
        self._pictures_R: Int64s = np.full(num_rows, picture_slots)
        self._told_R = [0] * num_rows
        self._open: dict[int, _Conversation] = {}
        self._refused: list[tuple[int, int]] = []
        """Sizes that no row has room for any more."""

    def place(self, sample: Waiting) -> bool:
        """The first row with room takes it, or none."""
        if any(sample.text >= text and sample.pictures >= pictures for text, pictures in self._refused):
            return False
        fits_R = (self._text_R >= sample.text) & (self._pictures_R >= sample.pictures)
        row = int(fits_R.argmax())
        if not fits_R[row]:
            self._refused.append((sample.text, sample.pictures))
            return False
        joined = self._joined(row, sample)
        if joined.drawn:
            self.placed[joined.last] = self.placed[joined.last]._replace(again=self._take(row, 0, 1)[1])
        text, picture = self._take(row, sample.text, sample.pictures)
        placed = Placed(sample.task, sample.number, row, joined.place, text, picture, joined.positions)
        if sample.told:
            self._open.pop(row, None)
        if sample.answered and joined.left > 1:
            positions = joined.positions + sample.positions
            told = (joined.place, joined.left - 1, positions, len(self.placed), sample.drawn)
            self._open[row] = _Conversation(*told)
        self.placed.append(placed)
        return True

    def _joined(self, row: int, sample: Waiting) -> _Conversation:
        """What it goes on with, or a conversation of its own."""
        found = self._open.get(row)
        if found and sample.told and self._pictures_R[row] >= sample.pictures + found.drawn:
            return found
        self._told_R[row] += 1
        return _Conversation(self._told_R[row] - 1, sample.told, 0, 0, False)

    def _take(self, row: int, text: int, pictures: int) -> tuple[int, int]:
        """The first slots of so many."""
        first = self._text_slots - int(self._text_R[row]), self._picture_slots - int(self._pictures_R[row])
        self._text_R[row] -= text
        self._pictures_R[row] -= pictures
        return first
