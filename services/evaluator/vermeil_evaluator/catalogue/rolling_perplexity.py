"""The same numbers over the windows of lm-eval's `loglikelihood_rolling`, to compare with it exactly.

lm-eval with max_length = the model's context keeps one place for <bos> and one for the token its
API asks for, and lets windows overlap by a single token.
"""

from vermeil_evaluator.perplexity import PerplexityTask


def no_overlap(context_length: int) -> tuple[int, int]:
    """Each window starts over with one token of context."""
    return context_length - 1, context_length - 2


TASK = PerplexityTask(
    name="rolling-perplexity",
    version=1,
    description="Perplexity as lm-eval's loglikelihood_rolling has it: windows that do not overlap.",
    window=no_overlap,
)
