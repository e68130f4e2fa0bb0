"""Numbers made of log-likelihoods. Knows no model: it gets sums of nats and counts.

A nat is a unit of -log p with the natural logarithm.
"""

import math

from vermeil_errors import InvalidInput


def perplexity(nats: float, num_tokens: int) -> float:
    """exp of the mean -log p of a token: among how many equally likely tokens the model hesitates.

    Depends on the tokenizer: compare only models that share one.
    """
    _check_positive("num_tokens", num_tokens)
    mean = nats / num_tokens
    return math.exp(mean) if mean < 700 else math.inf


def bits_per_byte(nats: float, num_bytes: int) -> float:
    """Bits the model needs for a byte of UTF-8 text; the same for every tokenizer. 8 is no model at all."""
    _check_positive("num_bytes", num_bytes)
    return nats / math.log(2) / num_bytes


def _check_positive(name: str, count: int) -> None:
    if count <= 0:
        raise InvalidInput.for_field(name, count, "must be positive", "score at least one token")
