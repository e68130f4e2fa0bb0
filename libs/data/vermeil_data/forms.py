"""Which samples of a source serve which task: told by their segments, all samples at once."""

# ruff: noqa: N815

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vermeil_data.arrays import Int64s
from vermeil_data.encoded_samples import SampleArrays
from vermeil_data.mixture import TaskKind

Bools = npt.NDArray[np.bool_]

WANTED: dict[TaskKind, str] = {
    "language-modelling": "text without pictures",
    "image-modelling": "a picture",
    "captioning": "a picture and captions",
    "vqa": "pictures, a question and an answer",
    "text-to-image": "a picture and captions",
    "interleaved": "two or more segments in order, with something to be learned",
}
"""What a sample must have to serve a task."""


class Forms(NamedTuple):
    """What the samples of a split are."""

    plain_N: Bools
    """Text alone."""
    shown_N: Bools
    """With a picture, whatever is said of it."""
    captioned_N: Bools
    """One picture, and texts before or after it of which any one describes it."""
    answered_N: Bools
    """Pictures and texts, of which some of the texts alone are to be learned."""
    told_N: Bools
    """Segments in an order that counts."""

    def serve(self, task: TaskKind) -> Int64s:
        """The samples from which a task can be learned."""
        serving_N = {
            "language-modelling": self.plain_N,
            "image-modelling": self.shown_N,
            "captioning": self.captioned_N,
            "vqa": self.answered_N,
            "text-to-image": self.captioned_N,
            "interleaved": self.told_N,
        }[task]
        return np.flatnonzero(serving_N)


def forms(samples: SampleArrays) -> Forms:
    """Look at every sample's segments."""
    begin_N, end_N = samples.sample_offsets[:-1], samples.sample_offsets[1:]
    shown_K, learned_K = samples.pictures_K >= 0, np.asarray(samples.learned_K)

    def number(of_K: Bools) -> Int64s:
        before = np.concatenate(([0], np.cumsum(of_K)))
        return before[end_N] - before[begin_N]

    pictures_N, texts_N = number(shown_K), number(~shown_K)
    drawn_N, written_N = number(shown_K & learned_K), number(~shown_K & learned_K)
    some_N = end_N > begin_N
    at_edge_N = np.zeros(len(begin_N), bool)
    at_edge_N[some_N] = shown_K[begin_N[some_N]] | shown_K[end_N[some_N] - 1]
    opposite_N = ((drawn_N == 1) & (written_N == 0)) | ((drawn_N == 0) & (written_N == texts_N))
    captioned_N = (pictures_N == 1) & (texts_N >= 1) & at_edge_N & opposite_N
    return Forms(
        plain_N=(pictures_N == 0) & some_N,
        shown_N=pictures_N > 0,
        captioned_N=captioned_N,
        answered_N=(pictures_N > 0) & (drawn_N == 0) & (written_N > 0) & (written_N < texts_N),
        told_N=(end_N - begin_N > 1) & (drawn_N + written_N > 0) & (~captioned_N | (texts_N == 1)),
    )
