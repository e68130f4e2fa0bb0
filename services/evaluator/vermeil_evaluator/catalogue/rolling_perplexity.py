"""The same numbers over the windows of lm-eval's `loglikelihood_rolling`, to compare with it exactly."""

from vermeil_evaluator.perplexity import BITS_PER_BYTE, PERPLEXITY, perplexity_task

TASK = perplexity_task(
    "rolling-perplexity",
    "Perplexity as lm-eval's loglikelihood_rolling has it: windows that do not overlap.",
    windows="rolling",
    metrics=(BITS_PER_BYTE, PERPLEXITY),
)
