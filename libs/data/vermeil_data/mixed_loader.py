"""Batches of a mixture: samples of all its tasks packed into rows of fixed size.

Every sample comes once an epoch of its task. Every rank packs the same global batch and reads its own rows.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import numpy as np
from vermeil_errors import InvalidInput

from vermeil_data.chat import END
from vermeil_data.mixed_batch import MixedBatch, Places, Rows, elements, joined
from vermeil_data.mixed_sources import OpenMixture
from vermeil_data.mixed_tasks import TaskSamples, task_samples
from vermeil_data.packing import NOT_AGAIN, Packer, Placed, Talk
from vermeil_data.resumable import ResumableLoader, Standing, check_rows
from vermeil_data.spelling import Marks


@dataclass(frozen=True)
class MixedLoaderState(Standing):
    """Where a loader stands; its position counts rows."""

    drawn: tuple[int, ...]
    """Samples handed out of each task."""
    waiting: tuple[tuple[int, int], ...]
    """Task and number of those that wait for a row with room."""
    split: str
    seed: int
    text_slots: int
    picture_slots: int
    patch_size: int
    mixture: str
    """A hash of tasks, sources and their sizes: a guard against resuming on others."""

    MOVING: ClassVar[frozenset[str]] = frozenset({"position", "drawn", "waiting"})
    OF: ClassVar[str] = "a loader of mixtures"

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """From json.loads, which knows no tuples."""
        state = super().from_dict(values)
        try:
            waiting = tuple((int(task), int(number)) for task, number in state.waiting)
            return replace(state, drawn=tuple(map(int, state.drawn)), waiting=waiting)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"is not the state of {cls.OF}: {error}", field="loader") from error


class TaskReport(NamedTuple):
    """What a task has given so far."""

    samples: int
    """On this rank."""
    text_slots: int
    picture_slots: int
    epochs: float
    """How often all its samples have come, over all ranks."""
    left_out: int
    """Samples that need more slots than a row has."""
    cut: int
    """Captions of which only the beginning fits."""


class FillReport(NamedTuple):
    """How full the rows were, since the loader was made or restored."""

    text: float
    """Share of text slots used, 0 to 1."""
    pictures: float
    """Share of picture slots used; 0 where there are none."""
    tasks: dict[str, TaskReport]


class MixedLoader(ResumableLoader[MixedBatch, MixedLoaderState]):
    """Endless batches of one split of all sources."""

    def __init__(
        self,
        mixture: OpenMixture,
        split: str,
        *,
        rows: int,
        text_slots: int,
        picture_slots: int,
        patch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """`rows` counts those of this rank; `patch_size` is the model's, from which positions follow."""
        check_rows("rows", rows, rank, world_size)
        _check_slots(mixture, text_slots, picture_slots, patch_size)
        tasks, names = mixture.mixture.tasks, list(mixture.sources)
        self._sources = [mixture.sources[task.source].samples(split) for task in tasks]
        self._tasks = [
            _task_samples(mixture, index, split, (text_slots, picture_slots), seed)
            for index, _ in enumerate(tasks)
        ]
        self._names = [task.name for task in tasks]
        sizes = [task.num_samples for task in self._tasks]
        shares = mixture.mixture.shares(sizes)
        images = mixture.images
        self._picture_step = max(images.height, images.width) // patch_size
        told = mixture.mixture.samples_per_conversation
        talk = Talk([task.style == "chat" for task in tasks], told, self._picture_step, seed)
        self._packer = Packer(self._tasks, shares, talk, rows * world_size, text_slots, picture_slots)
        facts = [mixture.mixture.to_dict()["tasks"], names, sizes, shares, mixture.vocab_size]
        facts += [told] if told > 1 else []
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        start = MixedLoaderState(
            0, self._packer.drawn, (), split, seed, text_slots, picture_slots, patch_size, digest
        )
        super().__init__(start, rows, rank, world_size)
        self._form = (images.channels, images.height, images.width)
        self._pad_id = mixture.tokenizer.pad_id
        self._end_id = mixture.tokenizer.mark_id(END)
        self._clear()

    def state(self) -> MixedLoaderState:
        """Everything needed to go on after the last batch handed out."""
        return replace(super().state(), drawn=self._packer.drawn, waiting=self._packer.waiting)

    def restore(self, state: MixedLoaderState) -> None:
        """Go on where `state` was taken; refused where data or settings differ."""
        super().restore(state)
        self._packer.restore(state.drawn, state.waiting)
        self._clear()

    def report(self) -> FillReport:
        """How well samples fill the rows, and what each task has given."""
        text, pictures = self._used[:, 1].sum(), self._used[:, 2].sum()
        room = max(1, self._num_rows_read)
        start = self._start
        tasks = {}
        for index, (name, task) in enumerate(zip(self._names, self._tasks, strict=True)):
            epochs = self._packer.drawn[index] / task.num_samples
            samples, tokens, shown = self._used[index].tolist()
            tasks[name] = TaskReport(samples, tokens, shown, epochs, task.num_left_out, task.num_cut)
        return FillReport(
            float(text / (room * start.text_slots)),
            float(pictures / (room * start.picture_slots)) if start.picture_slots else 0.0,
            tasks,
        )

    def _chunk(self) -> Iterator[MixedBatch]:
        """One batch: what is packed further ahead would have to be packed again after a restore."""
        start = self._start
        rows = Rows(self._rows, start.text_slots, start.picture_slots, self._form)
        mine = range(self._rank * self._rows, (self._rank + 1) * self._rows)
        of_task: list[list[Placed]] = [[] for _ in self._tasks]
        for placed in self._packer.rows():
            if placed.row in mine:
                of_task[placed.task].append(placed)
        for index, samples in enumerate(of_task):
            if samples:
                self._fill(rows, index, samples)
        self._num_rows_read += self._rows
        yield rows.finish(self._pad_id)

    def _fill(self, rows: Rows, index: int, placed: list[Placed]) -> None:
        _, number_K, row_K, *where = np.array(placed, np.int64).T
        pieces = self._tasks[index].pieces(number_K)
        source = self._sources[index]
        told = elements(pieces, source.ids_T, self._picture_step)
        places = Places(row_K - self._rank * self._rows, *where)
        if self._end_id is not None:
            told = joined(told, places, self._end_id)
        rows.fill(told, places, index, source.pixels_PCHW)
        num_pictures = int((told.picture_E >= 0).sum())
        num_tokens = len(told.sample_E) - num_pictures - int(told.target_only_E.sum())
        num_again = int(told.repeated_E.sum() + (places.again_K != NOT_AGAIN).sum())
        self._used[index] += (len(placed), num_tokens, num_pictures + num_again)

    def _clear(self) -> None:
        self._used = np.zeros((len(self._tasks), 3), np.int64)
        self._num_rows_read = 0


def _task_samples(
    mixture: OpenMixture, index: int, split: str, room: tuple[int, int], seed: int
) -> TaskSamples:
    task = mixture.mixture.tasks[index]
    samples = mixture.sources[task.source].samples(split)
    try:
        marks = Marks.of(mixture.tokenizer, chat=task.style == "chat")
        most = mixture.mixture.samples_per_conversation
        return task_samples(samples, task, marks, room, (seed, index), most=most)
    except InvalidInput as error:
        # Slots are the loader's, everything else is the task's.
        own = (error.field or "").endswith("_slots")
        field = error.field if own else f"tasks[{index}].{error.field}"
        raise InvalidInput(error.message, field=field, value=error.value, fix=error.fix) from error


def _check_slots(mixture: OpenMixture, text_slots: int, picture_slots: int, patch_size: int) -> None:
    if text_slots < 2:
        raise InvalidInput.for_field("text_slots", text_slots, "must be at least 2")
    if picture_slots < 0:
        raise InvalidInput.for_field("picture_slots", picture_slots, "must be at least 0")
    images = mixture.images
    if patch_size < 1 or images.height % patch_size or images.width % patch_size:
        problem = f"does not divide pictures of {images.height} × {images.width}"
        fix = "take the patch size of the model, or encode the pictures in its size"
        raise InvalidInput.for_field("patch_size", patch_size, problem, fix)
