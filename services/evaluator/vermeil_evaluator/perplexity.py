"""How well a model predicts text, by token and by byte, with intervals. Tasks differ in their windows.

The evidence is documents: they are resampled whole. Where there are too few of them for that, as in
a dataset that is one long book, stretches of a fixed number of tokens take their place.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_metrics import bits_per_byte, perplexity, ratio_interval
from vermeil_model import TextModel, load_checkpoint

from vermeil_evaluator.documents import Documents
from vermeil_evaluator.report import Metric
from vermeil_evaluator.scoring import ScoredDocument, score_documents
from vermeil_evaluator.task import Material, Measurement

MIN_DOCUMENTS = 20
"""Fewer than this, and blocks are resampled in their place."""
BLOCK_TOKENS = 256
"""Length of a block, unless the text is so short that there would be fewer than MIN_DOCUMENTS of them."""


@dataclass(frozen=True)
class Cost:
    """What a stretch of text cost the model."""

    nats: float
    """Sum of -ln p."""
    num_tokens: int
    """Tokens scored."""
    num_bytes: float
    """UTF-8 bytes of the text; of a block as its ids decode."""


@dataclass(frozen=True)
class PerplexityTask:
    """Scores every token once and divides."""

    name: str
    """Such as "perplexity"."""
    version: int
    """Grows whenever its numbers stop being comparable."""
    description: str
    """A sentence for people."""
    window: Callable[[int], tuple[int, int]]
    """From the model's context length to the length of a window and the step between windows."""

    def measure(self, material: Material) -> Measurement:
        """Score the documents, one item each."""
        tokenizer = TextTokenizer.load(material.model)
        documents = Documents(material.dataset, material.split, material.limit, tokenizer, material.model)
        material.progress(0, len(documents), "loading the model")
        model = load_model(material.model)
        length, step = self.window(model.config.context_length)
        by_block = len(documents) < MIN_DOCUMENTS
        costs: list[Cost] = []
        kept: list[ScoredDocument] = []
        items: list[dict[str, object]] = []

        def report() -> None:
            num_tokens = sum(cost.num_tokens for cost in costs)
            material.progress(len(costs), len(documents), f"scoring, {num_tokens:,} tokens so far")

        for scored in score_documents(model, documents, length=length, step=step, after_batch=report):
            costs.append(_cost(scored))
            items.append({"id": scored.document.id, **asdict(costs[-1])})
            if by_block:
                kept.append(scored)
        totals = _total(costs)
        block = max(1, min(BLOCK_TOKENS, totals.num_tokens // MIN_DOCUMENTS))
        if by_block:
            blocks = [list(_blocks(scored, block, tokenizer)) for scored in kept]
            costs = [cost for of_document in blocks for cost in of_document]
            for item, of_document in zip(items, blocks, strict=True):
                item["blocks"] = [asdict(cost) for cost in of_document]
        material.progress(len(items), len(documents), "drawing intervals")
        return Measurement(
            metrics=_metrics(costs, totals, material.seed),
            items=items,
            definition={"data": documents.sha256, "limit": material.limit},
            details={
                **asdict(totals),
                "window": {"length": length, "step": step},
                "resampled": f"blocks of {block} tokens" if by_block else "documents",
                "seed": material.seed,
            },
        )


def load_model(folder: Path) -> TextModel:
    """The model in float32, on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_checkpoint(folder, dtype=torch.float32, device=device)


def _metrics(costs: Sequence[Cost], totals: Cost, seed: int) -> tuple[Metric, ...]:
    if not totals.num_tokens:
        raise InvalidInput("there is nothing to score: all documents are empty", fix="use another split")
    nats = [cost.nats for cost in costs]
    by_byte = ratio_interval(nats, [cost.num_bytes for cost in costs], seed=seed)
    by_token = ratio_interval(nats, [cost.num_tokens for cost in costs], seed=seed)
    return (
        Metric("bits_per_byte", by_byte.map(lambda mean: bits_per_byte(mean, 1)), lower_is_better=True),
        Metric("perplexity", by_token.map(lambda mean: perplexity(mean, 1)), lower_is_better=True),
    )


def _cost(scored: ScoredDocument) -> Cost:
    nats = float(scored.nats_N.sum(dtype=np.float64))
    return Cost(nats, len(scored.nats_N), scored.document.num_bytes)


def _total(costs: Sequence[Cost]) -> Cost:
    return Cost(
        math.fsum(cost.nats for cost in costs),
        sum(cost.num_tokens for cost in costs),
        sum(cost.num_bytes for cost in costs),
    )


def _blocks(scored: ScoredDocument, block: int, tokenizer: TextTokenizer) -> Iterator[Cost]:
    """Cut a document up. Characters that a cut halves count a little wrong, so sizes are scaled to fit."""
    ids = scored.document.ids_N1[1:]
    cuts = range(0, len(ids), block)
    sizes = [len(tokenizer.decode(ids[cut : cut + block].tolist()).encode()) for cut in cuts]
    scale = scored.document.num_bytes / max(1, sum(sizes))
    for cut, size in zip(cuts, sizes, strict=True):
        nats_N = scored.nats_N[cut : cut + block]
        yield Cost(float(nats_N.sum(dtype=np.float64)), len(nats_N), size * scale)
