"""Perplexity and bits per byte, windows overlapping by half a context."""

from vermeil_evaluator.perplexity import PerplexityTask


def half_overlap(context_length: int) -> tuple[int, int]:
    """After the first window every token sees at least half a context: nearly what longer ones would give."""
    return context_length, max(1, context_length // 2)


TASK = PerplexityTask(
    name="perplexity",
    version=1,
    description="Perplexity by token and bits per byte of text; every token sees half a context or more.",
    window=half_overlap,
)
