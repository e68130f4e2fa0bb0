"""How much a key may still do: rates by buckets that fill again, quotas by what the registry has counted.

Tokens are known when an answer ends: a request begins while there is any allowance left and is then
charged in full, so that a bucket may go below zero and the next request waits the longer.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vermeil.registry.v1.api_key_pb2 import ApiKey
from vermeil_errors import Overloaded, QuotaExceeded
from vermeil_telemetry import counter

MINUTE = 60.0
RETRY_AFTER = "retry_after"
"""Metadata of an error: seconds after which the same request may pass."""
_over_limit = counter("gateway_requests_over_limit", "Requests refused by a limit of their key", ["limit"])


class Bucket:
    """So many a minute; full at first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._then = clock()
        self._level = 0.0
        self.limit = 0
        """A minute's worth; 0 for no bound."""

    def set_limit(self, limit: int) -> None:
        """Change it; what was taken so far stays taken."""
        self._refill()
        self._level += limit - self.limit
        self.limit = limit

    def take(self, amount: int) -> None:
        """Take, also more than there is."""
        self._refill()
        self._level -= amount

    @property
    def remaining(self) -> int:
        """What may be taken at once, 0 or more."""
        self._refill()
        return max(0, math.floor(self._level + 1e-6))

    def seconds_until(self, level: float) -> float:
        """How long until there is so much; 0 where there is."""
        self._refill()
        return max(0.0, (level - self._level) * MINUTE / self.limit) if self.limit else 0.0

    def _refill(self) -> None:
        now = self._clock()
        if self.limit:
            self._level = min(self.limit, self._level + (now - self._then) * self.limit / MINUTE)
        self._then = now


@dataclass
class Used:
    """What was done on one day."""

    requests: int = 0
    tokens: int = 0


@dataclass
class Allowance:
    """What one key may still do, as this gateway knows."""

    key: ApiKey
    """As the registry last described it."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    unreported: defaultdict[str, Used] = field(default_factory=lambda: defaultdict(Used))
    """By day in UTC; the registry has not been told yet."""
    reporting: dict[str, Used] = field(default_factory=dict)
    """By day in UTC; on its way to the registry."""

    def __post_init__(self) -> None:
        self.requests = Bucket(self.clock)
        self.tokens = Bucket(self.clock)
        self.last_used = self.now()
        self._num_under_way = 0
        self.describe(self.key)

    def describe(self, key: ApiKey) -> None:
        """Take over what the registry says of the key by now."""
        self.key = key
        self.requests.set_limit(key.limits.requests_per_minute)
        self.tokens.set_limit(key.limits.tokens_per_minute)

    @property
    def is_settled(self) -> bool:
        """Whether the registry knows all that the key has done, and nothing is under way."""
        return not (self._num_under_way or self.unreported or self.reporting)

    def admit(self, *, computes: bool) -> None:
        """Let one request begin; `leave` ends it.

        Args:
            computes: Whether it will cost tokens.

        Raises:
            Overloaded: Too many came within a minute; says when to come again.
            QuotaExceeded: The key's tokens are used up.
        """
        self._check_rate(self.requests, "requests")
        if computes:
            self._check_rate(self.tokens, "tokens")
            self._check_quotas()
        self.requests.take(1)
        self.last_used = self.now()
        self.unreported[self._day()].requests += 1
        self._num_under_way += 1

    def leave(self, tokens: int) -> None:
        """Count what a request cost that ends."""
        self._num_under_way -= 1
        if tokens:
            self.tokens.take(tokens)
            self.unreported[self._day()].tokens += tokens

    def headers(self) -> list[tuple[str, str]]:
        """`x-ratelimit-…`, as OpenAI's clients know them."""
        told = []
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket.limit:
                told += [
                    (f"x-ratelimit-limit-{name}", str(bucket.limit)),
                    (f"x-ratelimit-remaining-{name}", str(bucket.remaining)),
                    (f"x-ratelimit-reset-{name}", _duration(bucket.seconds_until(bucket.limit))),
                ]
        return told

    def _check_rate(self, bucket: Bucket, what: str) -> None:
        if bucket.limit and (seconds := bucket.seconds_until(1)):
            _over_limit.labels(f"{what}_per_minute").inc()
            raise Overloaded(
                f"{self.key.name} has had its {bucket.limit:,} {what} a minute",
                fix=f"send the request again in {math.ceil(seconds)} s",
                metadata={RETRY_AFTER: str(math.ceil(seconds))},
            )

    def _check_quotas(self) -> None:
        limits, usage, day = self.key.limits, self.key.usage, self._day()
        pending = self._pending()
        today = pending.get(day, 0) + (usage.tokens_today if usage.day == day else 0)
        this_month = sum(tokens for when, tokens in pending.items() if when[:7] == day[:7])
        this_month += usage.tokens_this_month if usage.day[:7] == day[:7] else 0
        in_total = sum(pending.values()) + usage.tokens_in_total
        for used, name, period, fix in (
            (today, "tokens_per_day", "of today", "wait for the next day of UTC"),
            (this_month, "tokens_per_month", "of this month", "wait for the next month of UTC"),
            (in_total, "tokens_in_total", "", "ask for another key"),
        ):
            limit: int = getattr(limits, name)
            if limit and used >= limit:
                _over_limit.labels(name).inc()
                words = f"its {limit:,} tokens {period}".rstrip()
                raise QuotaExceeded(f"{self.key.name} has used up {words}", fix=fix)

    def _pending(self) -> dict[str, int]:
        days = self.unreported.keys() | self.reporting.keys()
        none = Used()
        return {
            day: self.unreported.get(day, none).tokens + self.reporting.get(day, none).tokens for day in days
        }

    def _day(self) -> str:
        return self.now().date().isoformat()


def _duration(seconds: float) -> str:
    """Such as 1m30s, or 250ms."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= MINUTE else f"{whole}s"
