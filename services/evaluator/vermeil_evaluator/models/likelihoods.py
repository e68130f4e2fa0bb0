"""How likely texts are, for any network that judges tokens: from requests to answers, in windows."""

from collections.abc import Iterable, Iterator

import numpy as np
from vermeil_data import TextTokenizer

from vermeil_evaluator.models.model import Check
from vermeil_evaluator.requests import Answer, Loglikelihood, Request, TokenLikelihoods
from vermeil_evaluator.scoring import Document, Logprobs, ScoredDocument, score_batches, window_sizes


def likelihoods(
    requests: Iterable[Request],
    tokenizer: TextTokenizer,
    context_length: int,
    logprobs: Logprobs,
    check: Check,
) -> Iterator[list[Answer]]:
    """Answers of Loglikelihood, some hundred windows at a time; nothing is asked of the network before."""
    judged: list[int] = []
    documents = (_document(request, tokenizer, context_length, judged) for request in requests)
    batches = score_batches(
        logprobs,
        documents,
        lambda document: window_sizes(document.windows, context_length),
        after_batch=check,
    )
    for batch in batches:
        yield [_answer(scored, num) for scored, num in zip(batch, judged, strict=False)]
        del judged[: len(batch)]


def _document(request: Request, tokenizer: TextTokenizer, context_length: int, judged: list[int]) -> Document:
    """<bos>, context and text; `judged` gets the number of tokens at the end that are asked about."""
    assert isinstance(request, Loglikelihood)
    if request.ids:
        judged.append(len(request.ids) - 1)
        return Document("", np.array(request.ids, np.int64), 0, request.windows)
    encode = tokenizer.encode
    ids = encode(request.context + request.text, add_bos=True)
    # As lm-eval cuts it: what the context alone would have taken is not judged.
    num_given = len(encode(request.context)) if request.context else 0
    num_judged = max(1, len(ids) - 1 - num_given) if request.text else 0
    if num_judged < context_length:
        ids = ids[-context_length:] if request.context else ids
    judged.append(num_judged)
    return Document("", np.array(ids, np.int64), 0, request.windows)


def _answer(scored: ScoredDocument, num_judged: int) -> TokenLikelihoods:
    begin = len(scored.nats_N) - num_judged
    return TokenLikelihoods(
        scored.document.ids_N1[1:][begin:].astype(np.uint32), scored.nats_N[begin:].astype(np.float32)
    )
