"""Corpus BLEU as sacrebleu has it: tokenizer 13a, four orders, exponential smoothing, closest reference.

What a sentence adds is ten counts; BLEU is a function of their sums, so it can be resampled by sentence.
K: the ten counts, matches and totals of orders 1 to 4, length of hypothesis and of reference.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_ORDER = 4
NUM_COUNTS = 2 * MAX_ORDER + 2

_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_RULES = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def bleu_tokens(text: str) -> list[str]:
    """The words and signs of a text, as mteval-v13a cuts them."""
    line = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        line = line.replace(entity, character)
    line = f" {line} "
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line.split()


def bleu_counts(hypothesis: str, references: Sequence[str]) -> list[int]:
    """The ten counts of one sentence."""
    words = bleu_tokens(hypothesis)
    of_references = [bleu_tokens(reference) for reference in references]
    lengths = [len(each) for each in of_references]
    closest = min(lengths, key=lambda length: (abs(length - len(words)), length), default=0)
    matches, totals = [], []
    for order in range(1, MAX_ORDER + 1):
        ours = _ngrams(words, order)
        most: Counter[tuple[str, ...]] = Counter()
        for each in of_references:
            most |= _ngrams(each, order)
        matches.append((ours & most).total())
        totals.append(ours.total())
    return [*matches, *totals, len(words), closest]


def bleu(counts_RK: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU from 0 to 100 of every row of summed counts."""
    matches_R4, totals_R4 = counts_RK[:, :MAX_ORDER], counts_RK[:, MAX_ORDER : 2 * MAX_ORDER]
    length_R, reference_R = counts_RK[:, -2], counts_RK[:, -1]
    num_zeros_R4 = np.cumsum((matches_R4 == 0) & (totals_R4 > 0), axis=1)
    smoothed_R4 = np.where(matches_R4 > 0, matches_R4, 0.5**num_zeros_R4)
    usable_R = (totals_R4 > 0).all(axis=1) & (matches_R4 > 0).any(axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        logs_R = np.log(smoothed_R4 / totals_R4).mean(axis=1)
        brevity_R = np.minimum(0.0, 1.0 - reference_R / length_R)
        return np.where(usable_R, 100.0 * np.exp(np.where(usable_R, logs_R + brevity_R, 0.0)), 0.0)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of a corpus, 0 to 100; every hypothesis has its own references."""
    counts = [bleu_counts(*pair) for pair in zip(hypotheses, references, strict=True)]
    return float(bleu(np.sum(np.asarray(counts, np.float64), axis=0, keepdims=True))[0])


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))
