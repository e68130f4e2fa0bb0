"""Figures to look at: how long requests took, what happened when, latency against load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vermeil_client.bench.figures import METRICS, values
from vermeil_client.bench.outcome import End, Outcome
from vermeil_client.bench.sweep import at_rates

Json = dict[str, Any]

_NAMES = {
    "ttft": "time to first token",
    "tpot": "time per output token",
    "itl": "between two pieces",
    "e2el": "whole answer",
}
_COLOURS = {
    End.COMPLETED: "#2a7f62",
    End.SHED: "#d9a441",
    End.BROKEN_OFF: "#c1666b",
    End.UNREACHABLE: "#8d6a9f",
    End.REFUSED: "#888888",
    End.FAILED: "#a33333",
    End.TIMED_OUT: "#555555",
    End.LOST: "#000000",
    End.WRONG: "#ff00ff",
}


def draw_run(path: Path, found: Json, outcomes: Sequence[Outcome]) -> None:
    """How long requests took, and what happened when."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    whole = [each for each in outcomes if each.end == End.COMPLETED]
    for metric in METRICS:
        seconds = np.sort(values(whole)[metric])
        if seconds.size:
            shares = np.arange(1, seconds.size + 1) / seconds.size
            left.plot(np.maximum(seconds * 1000, 1e-2), shares, label=f"{metric.upper()} {_NAMES[metric]}")
    left.set(xscale="log", xlabel="milliseconds", ylabel="share of completed", ylim=(0, 1))
    if whole:
        left.legend()
    left.grid(alpha=0.3)
    draw_timeline(right, found["timeline"])
    right.set_xlabel("seconds")
    figure.suptitle(
        f"{found['request_throughput']:.2f} requests/s, {found['output_throughput']:.0f} tokens/s,"
        f" {found['completed']} of {found['num_prompts']} answered"
    )
    figure.savefig(path, dpi=110)


def draw_timeline(axes: Any, timeline: Json) -> None:
    """Requests a second by how they ended, under the line of those sent."""
    ended = timeline["ended_per_second"]
    axes.stackplot(
        timeline["seconds"],
        *ended.values(),
        labels=list(ended),
        colors=[_COLOURS[End(end)] for end in ended],
        step="mid",
    )
    axes.step(timeline["seconds"], timeline["sent_per_second"], "k", where="mid", lw=0.8, label="sent")
    axes.set_ylabel("requests a second")
    axes.legend(loc="upper right", fontsize="small")


def draw_sweep(path: Path, found: Json) -> None:
    """Latency against load, and what became of the requests."""
    steps = at_rates(found["steps"])
    rates = [step["request_rate"] for step in steps]
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for metric, colour in (("ttft", "#2a7f62"), ("tpot", "#d9a441"), ("e2el", "#34568b")):
        for part, style in (("median", "o-"), ("p99", "o:")):
            heights = [step.get(f"{part}_{metric}_ms", float("nan")) for step in steps]
            left.plot(rates, heights, style, color=colour, label=f"{metric.upper()} {part}")
    if found["idle_median_ttft_ms"]:
        left.axhline(
            2 * found["idle_median_ttft_ms"], color="#2a7f62", lw=0.8, ls="--", label="2 × idle TTFT"
        )
    left.set(yscale="log", xlabel="requests a second offered", ylabel="milliseconds")
    left.legend(fontsize="small")
    ended = {end: [step["ends"].get(end, 0) / step["num_prompts"] * step["request_rate"] for step in steps]
             for end in (each.value for each in End)}  # fmt: skip
    bottom = np.zeros(len(rates))
    width = 0.6 * min(np.diff(rates), default=1.0)
    for end, heights in ended.items():
        if any(heights):
            right.bar(rates, heights, width, bottom=bottom, color=_COLOURS[End(end)], label=end)
            bottom += np.array(heights)
    right.plot(rates, [step["request_throughput"] for step in steps], "k.-", label="answered a second")
    right.set(xlabel="requests a second offered", ylabel="requests a second, by their end")
    right.legend(fontsize="small")
    for axes in (left, right):
        axes.axvline(found["capacity"], color="black", lw=0.8, ls=":")
    figure.suptitle(f"capacity {found['capacity']:.2f} requests/s (dotted)")
    figure.savefig(path, dpi=110)
