"""CIDEr-D: how well a caption agrees with what people wrote, rare words counting more (1411.5726).

The formula of pycocoevalcap, given the same words: clipped tf-idf vectors of 1 to 4 words, a penalty for
another length, times 10. How rare a word is, the references of all items say.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vermeil_errors import InvalidInput

MAX_ORDER = 4
_LENGTH_SPREAD = 6.0
_NOT_A_WORD = re.compile(r"[^\w'&-]+")

Ngram = tuple[str, ...]


def caption_words(text: str) -> str:
    """Lower case, words apart, punctuation gone: what the PTB tokenizer leaves of plain captions."""
    return _NOT_A_WORD.sub(" ", text.lower()).strip()


def cider_d(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """A score for every item, 0 to 10; the corpus' score is their mean. Words are what spaces part."""
    if len(hypotheses) != len(references) or not len(references):
        raise InvalidInput.for_field(
            "references", len(references), f"must be as many as hypotheses, {len(hypotheses)}, at least one"
        )
    counted = [[_ngrams(text) for text in of_item] for of_item in references]
    if not all(counted):
        raise InvalidInput.for_field("references", None, "are missing for an item", "give one or more each")
    frequency = Counter(ngram for of_item in counted for ngram in set().union(*of_item))
    log_items = math.log(len(references))

    def vector(counts: Counter[Ngram]) -> "_Vector":
        return _Vector(counts, frequency, log_items)

    scores = [
        np.mean([vector(_ngrams(text)).similarity(vector(each)) for each in of_item])
        for text, of_item in zip(hypotheses, counted, strict=True)
    ]
    return 10 * np.array(scores, np.float64)


class _Vector:
    """A text's weighted n-grams, one table an order."""

    def __init__(self, counts: Counter[Ngram], frequency: Counter[Ngram], log_items: float) -> None:
        self.tables: list[dict[Ngram, float]] = [{} for _ in range(MAX_ORDER)]
        for ngram, count in counts.items():
            rarity = log_items - math.log(max(1.0, frequency[ngram]))
            self.tables[len(ngram) - 1][ngram] = count * rarity
        self.norms = [math.sqrt(sum(value**2 for value in table.values())) for table in self.tables]
        self.length = sum(count for ngram, count in counts.items() if len(ngram) == 2)

    def similarity(self, other: "_Vector") -> float:
        """Mean over the orders, before the factor of 10."""
        penalty = math.exp(-((self.length - other.length) ** 2) / (2 * _LENGTH_SPREAD**2))
        total = 0.0
        for mine, theirs, norm in zip(
            self.tables, other.tables, map(math.prod, zip(self.norms, other.norms, strict=True)), strict=True
        ):
            shared = sum(
                min(weight, theirs[ngram]) * theirs[ngram]
                for ngram, weight in mine.items()
                if ngram in theirs
            )
            total += penalty * (shared / norm if norm else shared)
        return total / MAX_ORDER


def _ngrams(text: str) -> Counter[Ngram]:
    words = text.split()
    return Counter(
        tuple(words[start : start + order])
        for order in range(1, MAX_ORDER + 1)
        for start in range(len(words) - order + 1)
    )
