"""Pure functions that turn scores into numbers with intervals."""

from vermeil_metrics.bleu import bleu, bleu_counts, corpus_bleu
from vermeil_metrics.bootstrap import (
    Comparison,
    Interval,
    bootstrap_interval,
    paired_comparison,
    paired_sums,
    ratio_interval,
    sums_interval,
)
from vermeil_metrics.cider import caption_words, cider_d
from vermeil_metrics.distances import (
    covered,
    densities,
    frechet_distance,
    frechet_to,
    in_manifold,
    kernel_distance,
    kernel_to,
    nearest,
)
from vermeil_metrics.exact_match import final_number, same_text, without_calculations
from vermeil_metrics.jackknife import jackknife_comparison, jackknife_interval
from vermeil_metrics.likelihood import bits_per_byte, perplexity
from vermeil_metrics.rouge import rouge_l
from vermeil_metrics.statistics import STATISTICS, Statistic, statistic
from vermeil_metrics.vqa import answer_type, normal_answer, vqa_accuracy

__all__ = [
    "STATISTICS",
    "Comparison",
    "Interval",
    "Statistic",
    "answer_type",
    "bits_per_byte",
    "bleu",
    "bleu_counts",
    "bootstrap_interval",
    "caption_words",
    "cider_d",
    "corpus_bleu",
    "covered",
    "densities",
    "final_number",
    "frechet_distance",
    "frechet_to",
    "in_manifold",
    "jackknife_comparison",
    "jackknife_interval",
    "kernel_distance",
    "kernel_to",
    "nearest",
    "normal_answer",
    "paired_comparison",
    "paired_sums",
    "perplexity",
    "ratio_interval",
    "rouge_l",
    "same_text",
    "statistic",
    "sums_interval",
    "vqa_accuracy",
    "without_calculations",
]
