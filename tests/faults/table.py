"""The table of faults, runs and outcomes, in Markdown."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ride import STEPS

PLACES = (("rabbitmq", "ceph"), ("redis", "folder"), ("redis", "ceph"), ("rabbitmq", "folder"))
_OUTCOMES = ("kept", "failed honestly", "broken")
_COLUMNS = (
    "fault", *map(" + ".join, PLACES), "struck during", *_OUTCOMES,
    "attempts, most", "told to retry", "back after, s", "runs that struck nothing",
)  # fmt: skip
_HEAD = f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|\n"


def table(runs: Sequence[dict[str, Any]]) -> str:
    """A line a fault: how often it struck with each broker and store. The last run of a seed counts."""
    ordered = sorted(runs, key=lambda run: run["fault"])
    lines = (_line(name, list(group)) for name, group in groupby(ordered, key=lambda run: run["fault"]))
    return _HEAD + "".join(lines)


def _line(name: str, all_runs: list[dict[str, Any]]) -> str:
    struck = [run for run in all_runs if run["outcome"] in _OUTCOMES]
    runs = list({(run["seed"], run["broker"], run["store"]): run for run in struck}.values())
    where = Counter((run["broker"], run["store"]) for run in runs)
    during = Counter(run["struck_at"].split()[0] for run in runs)
    counts = [str(sum(run["outcome"] == each for run in runs)) for each in _OUTCOMES]
    most = max((max(run["attempts"], default=0) for run in runs), default=0)
    told = sum(sum(run["told_to_retry"].values()) for run in runs)
    asked = sum(run["asked"] for run in runs)
    back = sorted(run["recovered"] for run in runs)
    cells = [
        name, *(str(where[place]) for place in PLACES),
        ", ".join(f"{step} {during[step]}" for step in STEPS if during[step]), *counts, str(most),
        f"{told} of {asked}", f"{back[0]:g} to {back[-1]:g}" if back else "",
        str(len(all_runs) - len(struck)),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"
