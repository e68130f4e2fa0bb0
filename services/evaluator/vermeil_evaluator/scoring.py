"""-log p of every token of every document, each scored once, in windows of the model's context.

A document longer than the context is read in windows that overlap: the first window scores all its
tokens, every later one only those no window before it has scored. The overlap is what the first of
them has to go by. N tokens of a document.
"""

# ruff: noqa: N815

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from vermeil_model import TextModel, token_logprobs

from vermeil_evaluator.requests import Windows

_TOKENS_AT_ONCE = 8192
_WINDOWS_AT_ONCE = 256  # among these, windows of like length share a batch
Logprobs = Callable[[torch.Tensor], torch.Tensor]
"""From tokens (B, T) to the log-probability of every one but the first, (B, T - 1)."""


@dataclass(frozen=True)
class Document:
    """One text, ready to be scored. N tokens and <bos> before them."""

    id: str
    """Where it came from."""
    ids_N1: npt.NDArray[np.int64]
    """<bos> and the tokens."""
    num_bytes: int
    """Of its text as UTF-8."""
    windows: Windows = "half"
    """How it is cut if it is longer than the context."""

    @property
    def num_tokens(self) -> int:
        """Tokens that are scored."""
        return len(self.ids_N1) - 1


class Window(NamedTuple):
    """A stretch of a document's ids, <bos> being number 0."""

    begin: int
    """The first id that is read."""
    first: int
    """The first id that is scored; greater than begin."""
    end: int
    """One past the last id, which is scored but not read."""


@dataclass(frozen=True)
class ScoredDocument:
    """A document and what each of its tokens cost."""

    document: Document
    nats_N: npt.NDArray[np.float32]
    """-ln p of every token, given all the window holds before it."""


def windows(num_tokens: int, length: int, step: int) -> Iterator[Window]:
    """Cover ids 1 … num_tokens, `length` ids a window, each window after the first scoring `step` more.

    step = length - 1 leaves one id of overlap, which is lm-eval's rolling window.
    """
    end = min(length, num_tokens + 1)
    if end > 1:
        yield Window(0, 1, end)
    while end <= num_tokens:
        first, end = end, min(end + step, num_tokens + 1)
        yield Window(end - length, first, end)


def window_sizes(windows: Windows, context_length: int) -> tuple[int, int]:
    """Length of a window, and how far the next one is.

    "half": after the first window every token sees at least half a context, nearly what longer ones
    would give. "rolling": lm-eval with max_length = the context keeps one place for <bos> and one for the
    token its API asks for, and lets windows overlap by a single token.
    """
    if windows == "half":
        return context_length, max(1, context_length // 2)
    return context_length - 1, context_length - 2


def score_documents(
    model: TextModel,
    documents: Iterable[Document],
    *,
    length: int,
    step: int,
    after_batch: Callable[[], None] = lambda: None,
) -> Iterator[ScoredDocument]:
    """Score documents as they come; `after_batch` is called every few thousand tokens and may raise."""
    sizes = (length, step)

    def logprobs(tokens_BT: torch.Tensor) -> torch.Tensor:
        return token_logprobs(model, tokens_BT.to(model.embedding.weight.device))

    batches = score_batches(logprobs, documents, lambda _document: sizes, after_batch=after_batch)
    return chain.from_iterable(batches)


def score_batches(
    logprobs: Logprobs,
    documents: Iterable[Document],
    sizes: Callable[[Document], tuple[int, int]],
    *,
    after_batch: Callable[[], None],
) -> Iterator[list[ScoredDocument]]:
    """The same in batches of documents, by any network; it is asked once there is something to score."""
    waiting: list[tuple[Document, list[Window]]] = []
    num_waiting = 0
    for document in documents:
        cut = list(windows(document.num_tokens, *sizes(document)))
        waiting.append((document, cut))
        num_waiting += len(cut)
        if num_waiting >= _WINDOWS_AT_ONCE:
            yield _score(logprobs, waiting, after_batch)
            waiting, num_waiting = [], 0
    if waiting:
        yield _score(logprobs, waiting, after_batch)


def _score(
    logprobs: Logprobs, waiting: Sequence[tuple[Document, list[Window]]], after_batch: Callable[[], None]
) -> list[ScoredDocument]:
    scored = [ScoredDocument(document, np.zeros(document.num_tokens, np.float32)) for document, _ in waiting]
    pairs = chain.from_iterable(((index, window) for window in cut) for index, (_, cut) in enumerate(waiting))
    for batch in _batches(sorted(pairs, key=lambda pair: pair[1].begin - pair[1].end)):
        longest = max(window.end - window.begin for _, window in batch)
        tokens_BT = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, (index, (begin, _, end)) in enumerate(batch):
            tokens_BT[row, : end - begin] = torch.from_numpy(scored[index].document.ids_N1[begin:end])
        nats_BT = -logprobs(tokens_BT).cpu().numpy()
        for row, (index, (begin, first, end)) in enumerate(batch):
            scored[index].nats_N[first - 1 : end - 1] = nats_BT[row, first - begin - 1 : end - begin - 1]
        after_batch()
    return scored


def _batches(pairs: Sequence[tuple[int, Window]]) -> Iterator[list[tuple[int, Window]]]:
    """Rows of falling length; what pads the shorter ones stands to the right, where nobody looks."""
    batch: list[tuple[int, Window]] = []
    for pair in pairs:
        length = batch[0][1].end - batch[0][1].begin if batch else 1
        if (len(batch) + 1) * length > _TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch
