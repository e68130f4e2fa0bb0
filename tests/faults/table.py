"""The table of faults, runs and outcomes, in Markdown."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

_HEAD = (
    "| fault | runs | struck in the ride | kept | failed honestly | broken | attempts, most | told to retry "
    "| back after, s |\n|---|---|---|---|---|---|---|---|---|\n"
)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """One line for each fault; of runs, where they ran in brackets."""
    ordered = sorted(runs, key=lambda run: run["fault"])
    lines = (_line(name, list(group)) for name, group in groupby(ordered, key=lambda run: run["fault"]))
    return _HEAD + "".join(lines)


def _line(name: str, runs: list[dict[str, Any]]) -> str:
    places = sorted({f"{run['broker']}, {run['store']}" for run in runs})
    counts = [str(sum(run["outcome"] == each for run in runs)) for each in _OUTCOMES]
    most = max((max(run["attempts"], default=0) for run in runs), default=0)
    told = sum(sum(run["told_to_retry"].values()) for run in runs)
    asked = sum(run["asked"] for run in runs)
    back = sorted(run["recovered"] for run in runs)
    struck = sum(run["struck_after"] < run["steps"].get("serve", run["struck_after"] + 1) for run in runs)
    cells = [
        name, f"{len(runs)} ({'; '.join(places)})", str(struck), *counts, str(most), f"{told} of {asked}",
        f"{back[0]:g} to {back[-1]:g}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


_OUTCOMES = ("kept", "failed honestly", "broken")
