"""Rate after rate, from an idle server to one that is asked too much: where does it saturate?

First one request at a time (idle), then as many at once as it likes (its capacity), then rates below and
above that.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vermeil_client.bench.figures import summary
from vermeil_client.bench.load import Pace, Run, Target, apply
from vermeil_client.bench.mixture import Mixture

Json = dict[str, Any]

SHARES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5)
"""Of capacity; the rates that are tried."""
KEEPS_UP = 0.95
"""A server keeps up with a rate if it answers this share of the requests."""
NEAR_IDLE = 2.0
"""Times the idle time to first token, which a rate below saturation stays within."""


async def sweep(
    target: Target,
    mixture: Mixture,
    pace: Pace,
    *,
    name: str,
    goodput: Mapping[str, float],
    rates: Sequence[float] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Json:
    """Figures of each rate, and what they come to.

    Args:
        pace: Its `duration` or `num_prompts` is that of every step, its `concurrency` that of the
            step which finds the capacity.
        name: Beginning of every request's id.
        rates: Requests a second; by default shares of the capacity found.
    """
    steps: list[Json] = []

    async def step(label: str, pace: Pace) -> Json:
        run: Run = await apply(target, mixture, pace, name=f"{name}-{label}")
        found = summary(run, goodput)
        steps.append({"step": label, **found})
        say(line(steps[-1]))
        return found

    idle = await step("idle", replace(pace, rate=None, concurrency=1))
    full = await step("full", replace(pace, rate=None))
    capacity = steady_throughput(full)
    for number, rate in enumerate(rates or [share * capacity for share in SHARES]):
        await step(f"rate{number}", replace(pace, rate=rate))
    return {"steps": steps, **verdict(steps, idle, capacity)}


def verdict(steps: Sequence[Json], idle: Json, capacity: float) -> Json:
    """Capacity, the highest rate that was kept up with, and how much slower the first token was then."""
    idle_ttft = idle.get("median_ttft_ms")
    by_rate = sorted(
        (each for each in steps if each["request_rate"] != "inf"), key=lambda s: s["request_rate"]
    )
    saturation, ratio = None, None
    for each in by_rate:
        now = each["median_ttft_ms"] / idle_ttft if idle_ttft and "median_ttft_ms" in each else None
        if each["completed"] < KEEPS_UP * each["num_prompts"] or (now or 0.0) > NEAR_IDLE:
            break
        saturation, ratio = each["request_rate"], now
    return {
        "capacity": capacity,
        "idle_median_ttft_ms": idle_ttft,
        "saturation_rate": saturation,
        "ttft_over_idle_at_saturation": ratio,
    }


def at_rates(steps: Sequence[Json]) -> list[Json]:
    """The steps that had a rate, slowest first."""
    return sorted((step for step in steps if step["request_rate"] != "inf"), key=lambda s: s["request_rate"])


def steady_throughput(found: Json) -> float:
    """Completed requests a second, without the beginning, when all start, and the end, when they run out."""
    ended = found["timeline"]["ended_per_second"].get("completed", [0.0])
    middle = ended[len(ended) // 10 : -(len(ended) // 5) or None]
    return statistics.fmean(middle) or float(found["request_throughput"])


def line(step: Json) -> str:
    """A step in one line."""
    rate = step["request_rate"]
    offered = f"{step['max_concurrency']} at once" if rate == "inf" else f"{rate:.2f}/s"
    unknown = float("nan")
    first, late = step.get("median_ttft_ms", unknown), step.get("p99_ttft_ms", unknown)
    shed = step["ends"].get("shed", 0)
    answered = f"{step['request_throughput']:7.2f}/s answered, {step['output_throughput']:8.1f} tok/s"
    waited = f"TTFT {first:7.1f} ms, p99 {late:8.1f}"
    return f"{offered:>12} → {answered} · {waited} · shed {shed}, failed {step['failed'] - shed}"
