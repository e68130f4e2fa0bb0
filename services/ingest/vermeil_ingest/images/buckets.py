"""Aspect buckets: pictures of about one shape can be trained together without cutting much off."""

import math

BUCKETS = ((1, 2), (9, 16), (2, 3), (3, 4), (1, 1), (4, 3), (3, 2), (16, 9), (2, 1))
"""Width to height."""


def bucket_of(width: int, height: int) -> str:
    """The nearest bucket, as `4x3`; measured by ratio, so that 2:1 and 1:2 are equally far from 1:1."""
    aspect = math.log(width / height)
    across, down = min(BUCKETS, key=lambda each: abs(math.log(each[0] / each[1]) - aspect))
    return f"{across}x{down}"
