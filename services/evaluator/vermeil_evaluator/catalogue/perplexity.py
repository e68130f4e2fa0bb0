"""Perplexity and bits per byte, windows overlapping by half a context."""

from vermeil_evaluator.perplexity import BITS_PER_BYTE, PERPLEXITY, perplexity_task

TASK = perplexity_task(
    "perplexity",
    "Perplexity by token and bits per byte of text; every token sees half a context or more.",
    windows="half",
    metrics=(BITS_PER_BYTE, PERPLEXITY),
)
