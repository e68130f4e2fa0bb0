"""A batch of rows in which samples of text and pictures lie, and how it is put together.

In memory a row is all its text, then all its pictures; the order in which they are told is in the orders.
Letters: B rows, T text slots, M picture slots, C channels, H height, W width; K samples, P pieces, E
elements (a token or a picture each).
"""

# ruff: noqa: N815

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vermeil_data.arrays import Int64s
from vermeil_data.encoded import TokenIds
from vermeil_data.resumable import moved
from vermeil_data.spelling import Bools, Pieces
from vermeil_data.windows import IGNORED

NO_SAMPLE = -1
"""Sample of a slot that holds nothing."""


class MixedBatch(NamedTuple):
    """One step's rows on the CPU, contiguous; int64 where nothing else is said.

    A picture to be drawn after which its sample goes on lies in two slots, one noisy and one given, with
    the same order and position. An empty slot has sample -1, and 0 in everything else but targets.
    """

    tokens_BT: torch.Tensor
    """The tokenizer's pad_id in empty slots."""
    targets_BT: torch.Tensor
    """The next token of each; -100 where it is given, a picture follows or nothing is."""
    text_sample_BT: torch.Tensor
    """Number of the sample within its row, from 0; those of one conversation count as one."""
    text_order_BT: torch.Tensor
    """Grows within the row by 1 a token or picture of a sample."""
    text_position_BT: torch.Tensor
    """Rotary position, from 0 in every sample; a picture takes as many as its longer side has patches."""
    text_task_BT: torch.Tensor
    """Index of the task in the mixture."""
    pixels_BMCHW: torch.Tensor
    """uint8, 0 to 255."""
    picture_sample_BM: torch.Tensor
    picture_order_BM: torch.Tensor
    """All patches of a picture share it."""
    picture_position_BM: torch.Tensor
    """Of its first patch."""
    picture_noisy_BM: torch.Tensor
    """bool: to be drawn, or given."""
    picture_task_BM: torch.Tensor

    @property
    def num_items(self) -> int:
        """Rows: all have the same number of slots, so that rows per second are a speed."""
        return len(self.tokens_BT)

    @property
    def num_targets(self) -> torch.Tensor:
        """Tokens and pictures from which something is learned."""
        return (self.targets_BT != IGNORED).sum() + self.picture_noisy_BM.sum()

    def to(self, device: torch.device) -> "MixedBatch":
        """The same on another device, copied while the CPU goes on."""
        return MixedBatch(*(moved(part, device) for part in self))  # type: ignore[arg-type]


class Elements(NamedTuple):
    """Tokens and pictures of samples, one after the other."""

    sample_E: Int64s
    ids_E: Int64s
    """Token ids; anything for a picture."""
    picture_E: Int64s
    """Number of the picture, or -1."""
    learned_E: Bools
    repeated_E: Bools
    target_only_E: Bools
    """A sample's last token, where it is learned: nothing follows that would need it as an input."""
    order_E: Int64s
    """From 0 in every sample."""
    position_E: Int64s


def elements(pieces: Pieces, ids_T: TokenIds, step: int) -> Elements:
    """Take pieces apart; `step` is how many positions a picture takes."""
    shown_P = pieces.picture_P >= 0
    sizes_P = np.where(shown_P, 1, pieces.length_P)
    of_E = np.repeat(np.arange(len(sizes_P)), sizes_P)
    within_E = np.arange(len(of_E)) - np.repeat(np.cumsum(sizes_P) - sizes_P, sizes_P)
    mark_E, sample_E, picture_E = pieces.mark_P[of_E], pieces.sample_P[of_E], pieces.picture_P[of_E]
    is_text_E = (mark_E < 0) & (picture_E < 0)
    ids_E = np.maximum(mark_E, 0)
    ids_E[is_text_E] = ids_T[(pieces.begin_P[of_E] + within_E)[is_text_E]]
    edge_E = np.diff(sample_E, prepend=-1, append=-1) != 0
    first_E, last_E = edge_E[:-1], edge_E[1:]
    learned_E = pieces.learned_P[of_E] & ~first_E
    advance_E = np.where(picture_E >= 0, step, 1)
    return Elements(
        sample_E,
        ids_E,
        picture_E,
        learned_E,
        pieces.repeated_P[of_E],
        last_E & learned_E & (picture_E < 0),
        _since_first(np.ones_like(advance_E), first_E),
        _since_first(advance_E, first_E),
    )


class Places(NamedTuple):
    """Where K samples lie in the batch."""

    row_K: Int64s
    place_K: Int64s
    """How many samples lie before it in its row."""
    text_K: Int64s
    """First text slot."""
    picture_K: Int64s
    """First picture slot."""
    position_K: Int64s
    """Positions before it in its conversation; 0 where it begins one."""
    again_K: Int64s
    """Picture slot in which its drawn picture comes a second time, given; -1 where nothing goes on."""


def joined(told: Elements, places: Places, end_id: int) -> Elements:
    """The same with what goes on with a conversation in its place there.

    Where it would begin with <bos> stands the <|end|> of what was told before, so far only a target.
    """
    before_E = places.position_K[told.sample_E]
    first_E = np.diff(told.sample_E, prepend=-1) != 0
    ids_E = np.where(first_E & (before_E > 0), end_id, told.ids_E)
    return told._replace(ids_E=ids_E, position_E=told.position_E + before_E)


class Rows:
    """Arrays of a batch that is being filled."""

    def __init__(
        self, num_rows: int, text_slots: int, picture_slots: int, form: tuple[int, int, int]
    ) -> None:
        self._text, self._pictures = (num_rows, text_slots), (num_rows, picture_slots)
        self._tokens: Int64s = np.zeros(self._text, np.int64)
        self._targets: Int64s = np.full(self._text, IGNORED)
        # Sample, order, position and task of texts and of pictures.
        self._of_text: Int64s = np.zeros((4, *self._text), np.int64)
        self._of_pictures: Int64s = np.zeros((4, *self._pictures), np.int64)
        self._of_text[0], self._of_pictures[0] = NO_SAMPLE, NO_SAMPLE
        self._noisy: Bools = np.zeros(self._pictures, bool)
        self._pixels: npt.NDArray[np.uint8] = np.zeros((*self._pictures, *form), np.uint8)

    def fill(self, told: Elements, places: Places, task: int, pixels_PCHW: npt.NDArray[np.uint8]) -> None:
        """Lay down the samples of one task."""
        order_E = told.order_E + (places.text_K + places.picture_K)[told.sample_E]
        facts = np.stack(
            (places.place_K[told.sample_E], order_E, told.position_E, np.full_like(order_E, task))
        )
        self._write(told, places, facts)
        self._show(told, places, facts, pixels_PCHW)

    def finish(self, pad_id: int) -> MixedBatch:
        """The batch."""
        self._tokens[self._of_text[0] == NO_SAMPLE] = pad_id
        arrays = (
            self._tokens,
            self._targets,
            *self._of_text,
            self._pixels,
            *self._of_pictures[:3],
            self._noisy,
            self._of_pictures[3],
        )
        return MixedBatch(*map(torch.from_numpy, arrays))

    def _write(self, told: Elements, places: Places, facts: Int64s) -> None:
        follows_E = np.append(told.learned_E[1:] & (told.picture_E[1:] < 0), False)
        targets_E = np.where(follows_E, np.append(told.ids_E[1:], 0), IGNORED)
        input_E = (told.picture_E < 0) & ~told.target_only_E
        sample_I = told.sample_E[input_E]
        slot_I = places.text_K[sample_I] + _rank(sample_I)
        at = (places.row_K[sample_I], slot_I)
        self._tokens[at] = told.ids_E[input_E]
        self._targets[at] = targets_E[input_E]
        self._of_text[:, at[0], at[1]] = facts[:, input_E]

    def _show(
        self, told: Elements, places: Places, facts: Int64s, pixels_PCHW: npt.NDArray[np.uint8]
    ) -> None:
        shown_E, again_E = told.picture_E >= 0, places.again_K[told.sample_E]
        shown = np.repeat(np.arange(len(shown_E)), np.where(shown_E, 1 + told.repeated_E, 0))
        if not len(shown):
            return
        given = ~told.learned_E[shown] | (np.diff(shown, prepend=-1) == 0)
        sample_I = told.sample_E[shown]
        slot_I = places.picture_K[sample_I] + _rank(sample_I)
        seen = np.flatnonzero(shown_E & told.learned_E & ~told.repeated_E & (again_E >= 0))
        shown = np.concatenate((shown, seen))
        at = (places.row_K[told.sample_E[shown]], np.concatenate((slot_I, again_E[seen])))
        self._noisy[at] = ~np.concatenate((given, np.ones(len(seen), bool)))
        self._of_pictures[:, at[0], at[1]] = facts[:, shown]
        self._pixels[at] = pixels_PCHW[told.picture_E[shown]]


def _since_first(advance_E: Int64s, first_E: Bools) -> Int64s:
    """How far everything is from the first of its sample."""
    before_E: Int64s = np.cumsum(advance_E) - advance_E
    begin_E: Int64s = before_E[first_E][np.cumsum(first_E) - 1]
    return before_E - begin_E


def _rank(sample_I: Int64s) -> Int64s:
    """0, 1, … within every run of equal numbers."""
    return _since_first(np.ones_like(sample_I), np.diff(sample_I, prepend=-1) != 0)
