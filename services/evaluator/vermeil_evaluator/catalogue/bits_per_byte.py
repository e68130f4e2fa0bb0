"""Bits per byte alone: the number that models with different tokenizers are compared by."""

from vermeil_evaluator.perplexity import BITS_PER_BYTE, perplexity_task

TASK = perplexity_task(
    "bits-per-byte",
    "Bits a model needs for a byte of text; the same for every tokenizer.",
    windows="half",
    metrics=(BITS_PER_BYTE,),
)
