"""How well a model predicts text: what the tasks share that differ only in windows and in what they show.

The evidence is documents: they are resampled whole. Where there are too few of them for that, as in
a dataset that is one long book, stretches of a fixed number of tokens take their place.
"""

# ruff: noqa: ARG001 every prompt and score is called alike

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from vermeil_errors import InvalidInput

from vermeil_evaluator.documents import documents
from vermeil_evaluator.item import Item
from vermeil_evaluator.requests import Answer, Loglikelihood, TokenLikelihoods, Windows
from vermeil_evaluator.task import Conclusion, Curve, Row, Rule, Run, Task

MIN_DOCUMENTS = 20
"""Fewer than this, and blocks are resampled in their place."""
BLOCK_TOKENS = 256
"""Length of a block, unless the text is so short that there would be fewer than MIN_DOCUMENTS of them."""
BITS_PER_BYTE = Rule("bits_per_byte", "bits_per_byte", ("nats", "num_bytes"), lower_is_better=True)
PERPLEXITY = Rule("perplexity", "perplexity", ("nats", "num_tokens"), lower_is_better=True)
_NUM_OCTAVES = 24


@dataclass(frozen=True)
class Cost:
    """What a stretch of text cost the model."""

    nats: float
    """Sum of -ln p."""
    num_tokens: int
    """Tokens scored."""
    num_bytes: float
    """UTF-8 bytes of the text; of a block as its ids decode."""


def perplexity_task(
    name: str, description: str, *, windows: Windows, metrics: tuple[Rule, ...], version: int = 1
) -> Task:
    """A task that judges every token of every document once."""

    def prompt(item: Item, run: Run) -> Sequence[Loglikelihood]:
        ids = item.fields.get("ids", ())
        return [Loglikelihood(text=item.fields.get("text", ""), windows=windows, ids=ids)]

    return Task(
        name=name,
        version=version,
        description=description,
        request=Loglikelihood,
        data=documents,
        prompt=prompt,
        score=_score,
        metrics=metrics,
        conclude=_conclude,
    )


def _score(item: Item, answers: Sequence[Answer], run: Run) -> Row:
    (found,) = answers
    assert isinstance(found, TokenLikelihoods)
    cost = Cost(found.nats, len(found.nats_N), item["num_bytes"])
    octaves = np.log2(np.arange(1, len(found.nats_N) + 1)).astype(int)
    by_octave = np.zeros((2, _NUM_OCTAVES))
    np.add.at(by_octave[0], octaves, found.nats_N)
    np.add.at(by_octave[1], octaves, 1)
    row: Row = {**asdict(cost), "_by_octave": by_octave}
    if run.num_items < MIN_DOCUMENTS:
        row["_found"] = found
    return row


def _conclude(rows: Sequence[Row], run: Run) -> Conclusion:
    totals = Cost(
        math.fsum(row["nats"] for row in rows),
        sum(row["num_tokens"] for row in rows),
        sum(row["num_bytes"] for row in rows),
    )
    if not totals.num_tokens:
        raise InvalidInput("there is nothing to score: all documents are empty", fix="use another split")
    by_block = run.num_items < MIN_DOCUMENTS
    block = max(1, min(BLOCK_TOKENS, totals.num_tokens // MIN_DOCUMENTS))
    if by_block:
        for row in rows:
            blocks = _blocks(row["_found"], row["num_bytes"], block, run.material.model.decode)
            row["blocks"] = [asdict(cost) for cost in blocks]
    resampled = f"blocks of {block} tokens" if by_block else "documents"
    return Conclusion(curves=_curves(rows), details={**asdict(totals), "resampled": resampled})


def _curves(rows: Sequence[Row]) -> Sequence[Curve]:
    nats, counts = sum(row["_by_octave"] for row in rows)
    seen = np.flatnonzero(counts)
    if len(seen) < 2:
        return ()
    title, x_label = "What a token costs, by its place in the document", "place, doubling"
    means = nats[seen] / counts[seen]
    return [Curve(title, x_label, "nats", (2.0**seen).tolist(), means.tolist())]


def _blocks(
    found: TokenLikelihoods, num_bytes: int, block: int, decode: Callable[[Sequence[int]], str]
) -> Iterator[Cost]:
    """Cut a document up. Characters that a cut halves count a little wrong, so sizes are scaled to fit."""
    cuts = range(0, len(found.ids_N), block)
    sizes = [len(decode(found.ids_N[cut : cut + block].tolist()).encode()) for cut in cuts]
    scale = num_bytes / max(1, sum(sizes))
    for cut, size in zip(cuts, sizes, strict=True):
        nats_N = found.nats_N[cut : cut + block]
        yield Cost(float(nats_N.sum(dtype=np.float64)), len(nats_N), size * scale)
