"""ROUGE-L: how much of two texts is one common subsequence of words, as Google's rouge_score has it."""

import re
from collections.abc import Sequence

_NOT_A_WORD = re.compile(r"[^a-z0-9]+")


def rouge_l(hypothesis: str, references: Sequence[str]) -> float:
    """F-measure, 0 to 1, of the reference that suits best; no stemming."""
    words = _words(hypothesis)
    return max((_f_measure(words, _words(reference)) for reference in references), default=0.0)


def _f_measure(ours: Sequence[str], theirs: Sequence[str]) -> float:
    common = longest_common_subsequence(ours, theirs)
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def longest_common_subsequence(first: Sequence[object], second: Sequence[object]) -> int:
    """Length of the longest sequence that both hold in order, gaps allowed."""
    row = [0] * (len(second) + 1)
    for one in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = diagonal + 1 if one == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def _words(text: str) -> list[str]:
    return _NOT_A_WORD.sub(" ", text.lower()).split()
