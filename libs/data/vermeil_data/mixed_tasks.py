"""The samples of one task of a mixture, addressed by number: the n-th is a function of n and the seed.

Every sample comes once an epoch of its task, in ever new orders. Letters: K samples asked for, N samples
of the source, G segments. Knows no rows, ranks or state.
"""

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from vermeil_errors import InvalidInput

from vermeil_data.arrays import Int64s
from vermeil_data.encoded_samples import NO_PICTURE, SampleArrays
from vermeil_data.forms import WANTED, forms
from vermeil_data.mixture import MixtureTask
from vermeil_data.shuffle import hashed, permutation
from vermeil_data.spelling import Bools, Marks, Pieces, Segments, Sizes, sizes, spelled, spelled_windows

_ORDER, _CAPTION, _CUT, _GROUP = 0, 1, 2, 4
_MEASURED_AT_ONCE = 1 << 16
Key = tuple[int, ...]
"""Seed and number of the task."""


class TaskSamples(ABC):
    """What is read for a task."""

    num_samples: int
    """In an epoch."""
    num_left_out: int = 0
    """Samples that serve the task, but need more slots than a row has."""
    num_cut: int = 0
    """Captions of which only the beginning fits into a row."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._order = lru_cache(maxsize=2)(
            lambda epoch: permutation(self.num_samples, *self._key, _ORDER, epoch)
        )

    @abstractmethod
    def pieces(self, numbers_K: Int64s) -> Pieces:
        """The samples of these numbers, spelled."""

    def sizes(self, numbers_K: Int64s) -> Sizes:
        """The slots they take."""
        return sizes(self.pieces(numbers_K))

    def _drawn(self, numbers_K: Int64s) -> tuple[Int64s, Int64s]:
        """Epochs, and places in an epoch as if nothing were shuffled."""
        epochs_K, within_K = np.divmod(numbers_K, self.num_samples)
        drawn_K = np.empty_like(numbers_K)
        for epoch in np.unique(epochs_K):
            chosen = epochs_K == epoch
            drawn_K[chosen] = self._order(int(epoch))[within_K[chosen]]
        return epochs_K, drawn_K


class TextWindows(TaskSamples):
    """Documents, long ones cut into windows of which each token is a target once an epoch.

    The first cut moves with the epoch, as far as the number of windows stays the same.
    """

    def __init__(self, samples: SampleArrays, members: Int64s, marks: Marks, window: int, key: Key) -> None:
        super().__init__(key)
        self._marks, self._window = marks, window
        texts = samples.text_offsets[samples.sample_offsets]
        self._begin_D = texts[:-1][members]
        # The input is <bos> and the text; what follows its last token is <eos>.
        self._length_D = texts[1:][members] - self._begin_D + 1
        counts_D = -(-self._length_D // window)
        self._first_D = np.concatenate(([0], np.cumsum(counts_D)))
        self._rest_D = self._length_D - (counts_D - 1) * window
        self.num_samples = int(self._first_D[-1])

    def pieces(self, numbers_K: Int64s) -> Pieces:
        """The windows of these numbers."""
        epochs_K, windows_K = self._drawn(numbers_K)
        documents_K = np.searchsorted(self._first_D, windows_K, side="right") - 1
        within_K = windows_K - self._first_D[documents_K]
        rest_K, length_K = self._rest_D[documents_K], self._length_D[documents_K]
        freedom_K = (self._window - rest_K + 1).astype(np.uint64)
        moved_K = hashed(epochs_K * len(self._length_D) + documents_K, *self._key, _CUT) % freedom_K
        cut_K = rest_K + moved_K.astype(np.int64)
        from_K = np.where(within_K == 0, 0, cut_K + (within_K - 1) * self._window)
        # One more than there are inputs: the last one is a target only.
        to_K = np.minimum(cut_K + within_K * self._window, length_K) + 1
        opens_K, closes_K = from_K == 0, to_K == length_K + 1
        text_from_K = np.maximum(from_K - 1, 0)
        text_length_K = to_K - 1 - closes_K - text_from_K
        return spelled_windows(
            self._begin_D[documents_K] + text_from_K, text_length_K, opens_K, closes_K, self._marks
        )


class Pictures(TaskSamples):
    """Pictures to be drawn from nothing, whatever is said of them: the first of every sample."""

    def __init__(self, samples: SampleArrays, members: Int64s, marks: Marks, key: Key) -> None:
        super().__init__(key)
        self._marks = marks
        shown_K = np.flatnonzero(samples.pictures_K >= 0)
        first_N = np.searchsorted(shown_K, samples.sample_offsets[:-1][members])
        self._picture_N = samples.pictures_K[shown_K[first_N]]
        self.num_samples = len(members)

    def pieces(self, numbers_K: Int64s) -> Pieces:
        """The samples of these numbers, each its picture alone."""
        picture_K = self._picture_N[self._drawn(numbers_K)[1]]
        zero_K, yes_K = np.zeros_like(picture_K), np.ones(len(picture_K), bool)
        segments = Segments(np.arange(len(picture_K)), picture_K, zero_K, zero_K, yes_K, yes_K)
        return spelled(segments, self._marks, chat=False, calls=False)


class CaptionedPictures(TaskSamples):
    """A picture and one of its captions, another one each epoch; of a long one the beginning."""

    def __init__(
        self, samples: SampleArrays, members: Int64s, task: MixtureTask, marks: Marks, room: int, key: Key
    ) -> None:
        """`room` is the number of text slots of a row."""
        super().__init__(key)
        self._samples, self._marks, self._task = samples, marks, task
        begin_N, end_N = samples.sample_offsets[:-1][members], samples.sample_offsets[1:][members]
        first_N = np.asarray(samples.pictures_K[begin_N] >= 0)
        self._picture_N = samples.pictures_K[np.where(first_N, begin_N, end_N - 1)]
        self._caption_N = begin_N + first_N
        self._captions_N = end_N - begin_N - 1
        self.num_samples = len(members)
        zero = np.zeros(1, np.int64)
        empty = self._spelled(zero, zero, zero, zero == 0)
        self._room = room - int(sizes(empty).text_K[0])
        if self._room < 1:
            problem = f"leaves no room for a caption in {task.kind}"
            raise InvalidInput.for_field("text_slots", room, problem, "give a row more")
        lengths_K = np.diff(samples.text_offsets)
        captions = np.repeat(self._caption_N, self._captions_N) + _within(self._captions_N)
        self.num_cut = int((lengths_K[captions] > self._room).sum())

    def pieces(self, numbers_K: Int64s) -> Pieces:
        """The samples of these numbers, each with the caption drawn for it."""
        _, members_K = self._drawn(numbers_K)
        drawn_K = hashed(numbers_K, *self._key, _CAPTION) % self._captions_N[members_K].astype(np.uint64)
        captions_K = self._caption_N[members_K] + drawn_K.astype(np.int64)
        begin_K = self._samples.text_offsets[captions_K]
        length_K = self._samples.text_offsets[captions_K + 1] - begin_K
        fits_K = length_K <= self._room
        return self._spelled(self._picture_N[members_K], begin_K, np.minimum(length_K, self._room), fits_K)

    def _spelled(self, picture_K: Int64s, begin_K: Int64s, length_K: Int64s, whole_K: Bools) -> Pieces:
        draws = self._task.kind == "text-to-image"
        size = len(picture_K)
        none_K, zero_K, yes_K = np.full(size, NO_PICTURE), np.zeros(size, np.int64), np.ones(size, bool)

        def laced(of_picture_K: npt.NDArray[Any], of_text_K: npt.NDArray[Any]) -> npt.NDArray[Any]:
            pair = (of_picture_K, of_text_K)
            return np.stack(pair[::-1] if draws else pair, 1).ravel()

        chat = self._task.style == "chat"
        segments = Segments(
            np.repeat(np.arange(size), 2),
            laced(picture_K, none_K),
            laced(zero_K, begin_K),
            laced(zero_K, length_K),
            laced(yes_K == draws, yes_K != draws),
            laced(yes_K, whole_K),
        )
        return spelled(segments, self._marks, chat=chat, calls=chat)


class ToldSamples(TaskSamples):
    """Samples as they are told; those that need more slots than a row has are left out.

    In conversations, questions on one picture follow one another in groups of 1 to so many, and the picture
    is shown with the first.
    """

    def __init__(
        self,
        samples: SampleArrays,
        members: Int64s,
        task: MixtureTask,
        marks: Marks,
        room: tuple[int, int],
        most: int,
        key: Key,
    ) -> None:
        """`room` is what a row has of text and picture slots."""
        super().__init__(key)
        self._samples, self._marks, self._task, self._room = samples, marks, task, room
        self._members, self._first = members, np.arange(len(members) + 1)
        fits_N = self._fitting()
        self._members, self._first = members[fits_N], np.arange(fits_N.sum() + 1)
        self.num_left_out = len(members) - len(self._members)
        if len(self._members) and most > 1 and task.kind == "vqa" and task.style == "chat":
            self._group(most)
        self.num_samples = len(self._first) - 1

    def pieces(self, numbers_K: Int64s) -> Pieces:
        """The samples of these numbers."""
        return self._spelled(self._drawn(numbers_K)[1])

    def _fitting(self) -> Bools:
        """Which groups fit into a row."""
        fits = [np.zeros(0, bool)]
        for start in range(0, len(self._first) - 1, _MEASURED_AT_ONCE):
            end = min(start + _MEASURED_AT_ONCE, len(self._first) - 1)
            found = sizes(self._spelled(np.arange(start, end)))
            fits.append((found.text_K <= self._room[0]) & (found.pictures_K <= self._room[1]))
        return np.concatenate(fits)

    def _group(self, most: int) -> None:
        """Bring together the questions on each picture that come first in their samples, and no others."""
        samples, members = self._samples, self._members
        begin_N = samples.sample_offsets[members]
        shown = np.concatenate(([0], np.cumsum(np.asarray(samples.pictures_K) >= 0)))
        single_N = shown[samples.sample_offsets[members + 1]] - shown[begin_N] == 1
        picture_N = samples.pictures_K[begin_N]
        of_N = np.where(single_N & (picture_N >= 0), picture_N, -1 - np.arange(len(members)))
        order_N = np.lexsort((hashed(members, *self._key, _GROUP), of_N))
        of_N = of_N[order_N]
        counts = np.diff(np.flatnonzero(np.diff(of_N, prepend=of_N[0] - 1, append=of_N[-1] + 1)))
        in_run_N = _within(counts) % most
        run_N = np.cumsum(in_run_N == 0)
        cut_N = 1 + (hashed(run_N, *self._key, _GROUP) % np.uint64(most)).astype(np.int64)
        self._members = members[order_N]
        begins_N = (in_run_N == 0) | (in_run_N == cut_N)
        self._first = np.append(np.flatnonzero(begins_N), len(members))
        # Groups that are too large for a row are taken apart.
        begins_N |= np.repeat(~self._fitting(), np.diff(self._first))
        self._first = np.append(np.flatnonzero(begins_N), len(members))

    def _spelled(self, groups_K: Int64s) -> Pieces:
        samples = self._samples
        num_members_K = self._first[groups_K + 1] - self._first[groups_K]
        in_group_M = _within(num_members_K)
        members_M = self._members[np.repeat(self._first[groups_K], num_members_K) + in_group_M]
        # The picture of the first is not shown again.
        begin_M = samples.sample_offsets[members_M] + (in_group_M > 0)
        counts_M = samples.sample_offsets[members_M + 1] - begin_M
        at_G = np.repeat(begin_M, counts_M) + _within(counts_M)
        text_begin_G = samples.text_offsets[at_G]
        segments = Segments(
            np.repeat(np.repeat(np.arange(len(groups_K)), num_members_K), counts_M),
            samples.pictures_K[at_G],
            text_begin_G,
            samples.text_offsets[at_G + 1] - text_begin_G,
            samples.learned_K[at_G],
            np.ones(len(at_G), bool),
        )
        return spelled(segments, self._marks, chat=self._task.style == "chat", calls=True)


def task_samples(
    samples: SampleArrays,
    task: MixtureTask,
    marks: Marks,
    room: tuple[int, int],
    key: Key,
    *,
    most: int = 1,
) -> TaskSamples:
    """What is read for a task from one split of its source; errors name fields of the task.

    `room` is what a row has of text and picture slots, `most` the samples that a conversation may have.
    """
    text_slots, picture_slots = room
    members = forms(samples).serve(task.kind)
    if not len(members):
        problem = f"has none for {task.kind} among its {len(samples.classes_N):,} samples"
        fix = f"choose a source whose samples have {WANTED[task.kind]}"
        raise InvalidInput.for_field("source", task.source, problem, fix)
    if task.kind == "language-modelling":
        window = min(task.window or text_slots, text_slots)
        return TextWindows(samples, members, marks, window, key)
    if task.kind in ("image-modelling", "captioning", "text-to-image"):
        if not picture_slots:
            raise InvalidInput.for_field(
                "picture_slots", 0, f"leaves no room for {task.kind}", "give 1 or more"
            )
        if task.kind == "image-modelling":
            return Pictures(samples, members, marks, key)
        return CaptionedPictures(samples, members, task, marks, text_slots, key)
    found = ToldSamples(samples, members, task, marks, room, most, key)
    if not found.num_samples:
        problem = f"has {len(members):,} samples for {task.kind}, but none of them fits into a row"
        raise InvalidInput.for_field("source", task.source, problem, "give a row more text or picture slots")
    return found


def _within(counts: Int64s) -> Int64s:
    """0, 1, … of each of several things with so many parts."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
