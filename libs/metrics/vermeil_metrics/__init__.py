"""Pure functions that turn scores into numbers with intervals."""

from vermeil_metrics.bootstrap import (
    Comparison,
    Interval,
    bootstrap_interval,
    paired_comparison,
    ratio_interval,
)
from vermeil_metrics.likelihood import bits_per_byte, perplexity

__all__ = [
    "Comparison",
    "Interval",
    "bits_per_byte",
    "bootstrap_interval",
    "paired_comparison",
    "perplexity",
    "ratio_interval",
]
