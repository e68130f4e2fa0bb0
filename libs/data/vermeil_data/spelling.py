"""How samples are spelled: marks, texts and pictures in one row of pieces, many samples at once.

    document   <bos> text <boi>▢<eoi> text <eos>       ▢ given, ▨ to be drawn
    chat       <bos><|user|><boi>▢<eoi> text <|end|><|assistant|> text <boi>▨<eoi><|end|>

A document that ends with a picture to be drawn ends there. Letters: G segments, P pieces, K samples.
"""

# ruff: noqa: N815

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from vermeil_errors import InvalidInput

from vermeil_data.arrays import Int64s
from vermeil_data.chat import END, ROLE_MARKS
from vermeil_data.tokenizer import TextTokenizer

Bools = npt.NDArray[np.bool_]
NONE = -1
"""No mark, no picture."""


class Marks(NamedTuple):
    """Ids of the special tokens that samples are spelled with."""

    bos: int
    eos: int
    boi: int
    eoi: int
    user: int
    assistant: int
    end: int

    @classmethod
    def of(cls, tokenizer: TextTokenizer, *, chat: bool) -> Self:
        """Those of a tokenizer; of one that knows no chat the last three are -1."""
        if tokenizer.boi_id is None or tokenizer.eoi_id is None:
            raise InvalidInput(
                "has no marks for pictures", field="tokenizer", fix="take the one that encoded samples carry"
            )
        names = (ROLE_MARKS["user"], ROLE_MARKS["assistant"], END)
        turns = [tokenizer.mark_id(name) for name in names]
        if chat and None in turns:
            raise InvalidInput.for_field(
                "style", "chat", "cannot be: the tokenizer has no marks for chat", "choose document"
            )
        user, assistant, end = (NONE if mark is None else mark for mark in turns)
        return cls(
            tokenizer.bos_id, tokenizer.eos_id, tokenizer.boi_id, tokenizer.eoi_id, user, assistant, end
        )


class Segments(NamedTuple):
    """Segments of samples in order, the samples one after the other."""

    sample_G: Int64s
    """Counts from 0 without a gap."""
    picture_G: Int64s
    """Number of the picture, or -1."""
    begin_G: Int64s
    """Where its text begins among the ids of the source."""
    length_G: Int64s
    """Tokens of its text."""
    learned_G: Bools
    whole_G: Bools
    """False where the text was cut, so that no end is told."""


class Pieces(NamedTuple):
    """Samples as marks, texts and pictures in order."""

    sample_P: Int64s
    mark_P: Int64s
    """Id of a mark, or -1."""
    begin_P: Int64s
    length_P: Int64s
    """Tokens: 1 of a mark, 0 of a picture."""
    picture_P: Int64s
    """Number of a picture, or -1."""
    learned_P: Bools
    repeated_P: Bools
    """A picture to be drawn after which the sample goes on: it comes a second time, given."""


class Sizes(NamedTuple):
    """Slots that samples take, and what a sample told after them must know."""

    text_K: Int64s
    pictures_K: Int64s
    shown_K: Int64s
    """Pictures, each counted once."""
    drawn_K: Bools
    """It ends with a picture to be drawn, which what follows would look at."""
    answered_K: Bools
    """It ends with what is to be learned, so that a user may go on."""


def spelled(segments: Segments, marks: Marks, *, chat: bool, calls: bool) -> Pieces:
    """Segments between their marks; with `calls` the <boi> before a picture to be drawn is learned."""
    sample_G, picture_G, begin_G, length_G, learned_G, whole_G = segments
    edge_G = np.diff(sample_G, prepend=NONE, append=sample_G[-1] + 1) != 0
    first_G, last_G = edge_G[:-1], edge_G[1:]
    shown_G = picture_G >= 0
    drawn_G = shown_G & learned_G
    never_G = np.zeros_like(shown_G)
    turn_G = np.diff(learned_G.astype(np.int8), prepend=0) != 0
    turn_G = (first_G | turn_G) if chat else never_G
    closed_G = last_G & whole_G & (True if chat else ~shown_G)
    role_G = np.where(learned_G, marks.assistant, marks.user)
    # (mark, is it there, is it learned), before and after the segment itself.
    before = (
        (marks.bos, first_G, never_G),
        (marks.end, turn_G & ~first_G, ~learned_G),
        (role_G, turn_G, never_G),
        (marks.boi, shown_G, drawn_G & calls),
    )
    after = (
        (marks.eoi, shown_G & (~last_G | chat | ~drawn_G), never_G),
        (marks.end if chat else marks.eos, closed_G, learned_G),
    )
    columns = (*before, (NONE, ~never_G, learned_G), *after)
    size = len(sample_G)
    mark_GC, there_GC, learned_GC = (
        _stacked(size, [column[axis] for column in columns], dtype)
        for axis, dtype in enumerate((np.int64, np.bool_, np.bool_))
    )
    own = len(before)

    def own_only(value_G: Int64s, other: int) -> Int64s:
        value_GC = np.full(there_GC.shape, other, np.int64)
        value_GC[:, own] = value_G
        value_P: Int64s = value_GC[there_GC]
        return value_P

    repeated_GC = np.zeros_like(there_GC)
    repeated_GC[:, own] = drawn_G & ~last_G
    return Pieces(
        np.repeat(sample_G, there_GC.sum(1)),
        mark_GC[there_GC],
        own_only(begin_G, 0),
        own_only(np.where(shown_G, 0, length_G), 1),
        own_only(picture_G, NONE),
        learned_GC[there_GC],
        repeated_GC[there_GC],
    )


def spelled_windows(
    begin_K: Int64s, length_K: Int64s, opens_K: Bools, closes_K: Bools, marks: Marks
) -> Pieces:
    """Pieces of plain text, each with <bos> and <eos> where it begins and ends its document."""
    there_KC = np.stack((opens_K, length_K > 0, closes_K), 1)
    numbers_K = np.arange(len(begin_K))
    none_K = np.zeros_like(numbers_K)

    def columns(bos: Int64s | int, text: Int64s | int, eos: Int64s | int) -> Int64s:
        value_P: Int64s = _stacked(len(numbers_K), (bos, text, eos), np.int64)[there_KC]
        return value_P

    return Pieces(
        columns(numbers_K, numbers_K, numbers_K),
        columns(marks.bos, NONE, marks.eos),
        columns(none_K, begin_K, none_K),
        columns(1, length_K, 1),
        columns(NONE, NONE, NONE),
        columns(0, 1, 1).astype(bool),
        columns(0, 0, 0).astype(bool),
    )


def sizes(pieces: Pieces) -> Sizes:
    """What samples take; the last token of one that ends with learned text is a target and no more."""
    num_samples = int(pieces.sample_P[-1]) + 1
    shown_P = pieces.picture_P >= 0
    last_P = np.diff(pieces.sample_P, append=num_samples) != 0
    text_P = pieces.length_P - (last_P & pieces.learned_P & ~shown_P)

    def total(value_P: npt.NDArray[Any]) -> Int64s:
        return np.bincount(pieces.sample_P, value_P, num_samples).astype(np.int64)

    return Sizes(
        total(text_P),
        total(shown_P.astype(np.int64) + pieces.repeated_P),
        total(shown_P),
        total(shown_P & pieces.learned_P & ~pieces.repeated_P) > 0,
        total(last_P & pieces.learned_P) > 0,
    )


def _stacked(size: int, columns: Sequence[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Columns, of which some are one value for all rows."""
    stacked = np.empty((size, len(columns)), dtype)
    for index, column in enumerate(columns):
        stacked[:, index] = column
    return stacked
