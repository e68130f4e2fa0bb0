"""How likely the chosen tokens were, and which were the likeliest, for those who ask.

Letters: N sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class TokenLogprob(NamedTuple):
    """A token and the natural logarithm of its probability, before any sampling parameter."""

    token: int
    logprob: float


Found = tuple[float | None, tuple[TokenLogprob, ...]]
"""Of the chosen token, and the likeliest ones."""


def logprobs_of(tokens: Sequence[int], logits_NV: Tensor, counts: Sequence[int | None]) -> list[Found]:
    """For every sequence; `counts` says how many of the likeliest are wanted, None that nothing is."""
    found: list[Found] = [(None, ())] * len(tokens)
    wanted = [row for row, count in enumerate(counts) if count is not None]
    if not wanted:
        return found
    logprobs_NV = logits_NV[wanted].log_softmax(-1)
    most = [min(counts[row] or 0, logits_NV.shape[-1]) for row in wanted]
    best, best_tokens = logprobs_NV.topk(max(most), dim=-1)
    chosen = logprobs_NV[range(len(wanted)), [tokens[row] for row in wanted]].tolist()
    for row, count, logprob, values, ids in zip(
        wanted, most, chosen, best.tolist(), best_tokens.tolist(), strict=True
    ):
        top = tuple(TokenLogprob(*pair) for pair in zip(ids[:count], values[:count], strict=True))
        found[row] = (logprob, top)
    return found
