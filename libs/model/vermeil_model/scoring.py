"""How likely a model finds given tokens: for evaluation, and for echoing prompts with log-probabilities.

Letters: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vermeil_model.logprobs import TokenLogprob
from vermeil_model.text_model import TextModel

MOST_LOGITS = 2**24
"""Logits made at once: 64 MiB in float32."""


class TokenScore(NamedTuple):
    """One given token, judged by what stands before it."""

    token: int
    logprob: float | None
    """None for the first token, which nothing precedes."""
    top_logprobs: tuple[TokenLogprob, ...]
    """The likeliest tokens in its place, best first."""


@torch.inference_mode()
def token_logprobs(model: TextModel, tokens_BT: Tensor, *, documents_BT: Tensor | None = None) -> Tensor:
    """Log-probability of every token but the first of each row, (B, T − 1), float32.

    The first token of a packed document is judged by nothing of use: leave it out of sums.
    """
    hidden_BTD = model.hidden(tokens_BT, documents_BT=documents_BT)[:, :-1]
    rows_ND = hidden_BTD.flatten(0, 1)
    targets_N = tokens_BT[:, 1:].flatten()
    chunk = max(1, MOST_LOGITS // model.config.vocab_size)
    pieces = [
        -torch.nn.functional.cross_entropy(model.readout(rows).float(), targets, reduction="none")
        for rows, targets in zip(torch.split(rows_ND, chunk), torch.split(targets_N, chunk), strict=True)
    ]
    return torch.cat(pieces).view(tokens_BT.shape[0], -1)


@torch.inference_mode()
def score(model: TextModel, tokens: Sequence[int], *, num_logprobs: int = 0) -> list[TokenScore]:
    """Every token of one sequence with its log-probability and the `num_logprobs` likeliest in its place."""
    device = model.embedding.weight.device
    tokens_1T = torch.tensor([list(tokens)], dtype=torch.long, device=device)
    hidden_TD = model.hidden(tokens_1T)[0, :-1]
    scores = [TokenScore(tokens[0], None, ())] if tokens else []
    chunk = max(1, MOST_LOGITS // model.config.vocab_size)
    for start in range(0, len(hidden_TD), chunk):
        logprobs_TV = model.readout(hidden_TD[start : start + chunk]).float().log_softmax(-1)
        given = tokens[start + 1 : start + 1 + len(logprobs_TV)]
        own = logprobs_TV[range(len(given)), list(given)].tolist()
        best, best_tokens = logprobs_TV.topk(min(num_logprobs, logprobs_TV.shape[-1]), dim=-1)
        for token, logprob, ids, values in zip(given, own, best_tokens.tolist(), best.tolist(), strict=True):
            top = tuple(TokenLogprob(*pair) for pair in zip(ids, values, strict=True))
            scores.append(TokenScore(token, logprob, top))
    return scores
