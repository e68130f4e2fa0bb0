"""More than a house can bear, for as long as you like, and its generator killed with -9 in the middle.

Starts a `vermeil up` of its own with a small trained model, finds by a sweep what it can answer, then asks
for 1.5 times that. Tells whether every request came to an honest end, whether memory stayed flat, how long
the service was away, and whether anybody else noticed. Results: results/overload.json and .png.

    .venv/bin/python tests/faults/overload.py --minutes 60
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bystanders import Job, Registry
from ledger import compare, is_sound
from matplotlib.figure import Figure
from memory import Memory, Series, generator_of
from vermeil_client.bench.figures import summary
from vermeil_client.bench.load import Pace, Run, Target, apply
from vermeil_client.bench.mixture import Lengths, Mixture, shares_from
from vermeil_client.bench.outcome import End, Outcome
from vermeil_client.bench.plots import draw_sweep, draw_timeline
from vermeil_client.bench.sweep import sweep
from vermeil_local.home import Home
from vermeil_local.testing import Installation, installation, small_recipe, write_words

Json = dict[str, Any]

MODEL = "small"
LENGTHS = Lengths(short_input=8, long_input=30, short_output=16, long_output=48)
"""They fit a context of 256 bytes."""
KEEPS = 0.9
"""Share of its capacity that a server still answers when it is asked too much; below that it collapses."""
_STOOD_STILL_MS = 5000.0
"""A client that did nothing for so long was stopped, and everybody with it: no verdict counts then."""
_PATIENCE_SECONDS = 120
_LONG_ENOUGH = 600.0
"""Seconds; in less no slope of memory can be told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all; the exit code is 0 if the house stood."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the overload is held")
    parser.add_argument("--step-seconds", type=float, default=30.0, help="of each step of the sweep")
    parser.add_argument("--times", type=float, default=1.5, help="of its capacity")
    parser.add_argument("--rates", type=float, nargs="*", default=(), help="of the sweep, in place of shares")
    parser.add_argument("--concurrency", type=int, default=48, help="with which the capacity is found")
    parser.add_argument("--mix", default="short=4,read=2,write=2,turns=2,json=1", help="kinds of requests")
    parser.add_argument("--slots", type=int, default=32, help="VERMEIL_GENERATOR_SLOTS")
    parser.add_argument("--queue", type=int, default=256, help="VERMEIL_GENERATOR_QUEUE")
    parser.add_argument("--steps", type=int, default=20, help="of the training")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="overload-"))
    limits = {"SLOTS": options.slots, "QUEUE": options.queue}
    variables = {f"VERMEIL_GENERATOR_{name}": str(value) for name, value in limits.items()}
    try:
        with installation(folder / "home", **variables) as house:
            found = _put_under_load(house, folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "overload.json"
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    _say(json.dumps(found["verdict"], indent=1))
    return 0 if all(found["verdict"].values()) else 1


def _put_under_load(house: Installation, folder: Path, options: argparse.Namespace) -> Json:
    recipe, digest = _train(house, folder, options.steps)
    mixture = Mixture(f"{MODEL}@1", shares_from(options.mix), LENGTHS, counts_tokens=True)
    target = Target(house.url)
    pace = Pace(concurrency=options.concurrency, duration=options.step_seconds)
    asyncio.run(apply(target, mixture, Pace(concurrency=4, num_prompts=12), name="warm"))
    swept = asyncio.run(sweep(target, mixture, pace, name="sweep", goodput={}, rates=options.rates, say=_say))
    options.results.mkdir(parents=True, exist_ok=True)
    draw_sweep(options.results / "sweep.png", swept)
    seconds = 60 * options.minutes
    rate = options.times * swept["capacity"]
    _say(f"capacity {swept['capacity']:.2f}/s; {rate:.2f}/s for {options.minutes:g} minutes")
    running = Home(house.home).running()
    assert running is not None
    registry = Registry(house.url, every=1.0, expected={MODEL})
    with Memory(running.pid, every=max(0.5, seconds / 1200)) as memory, registry:
        run, killed, job = asyncio.run(
            _overload(
                target, mixture, Pace(rate=rate, duration=seconds), house, running.pid, (recipe, digest)
            )
        )
        back = asyncio.run(_back_again(target, mixture))
    found = summary(run, {})
    held = {name: series.verdict() for name, series in memory.series.items()}
    death = _death(run, killed, back)
    book = compare(run.outcomes, house.home / "logs" / "services.log")
    draw(options.results / "overload.png", found, memory, killed - run.started)
    others = {"registry": _told(registry), "job": {"events": job.num_events, "failure": job.failure}}
    return {
        "about": _about(options),
        "verdict": _verdict(book, held, death, swept, found, registry, job, seconds),
        "book": book,
        "generator_killed": death,
        "others": others,
        "memory": held,
        "memory_series": {name: _thinned(series) for name, series in memory.series.items()},
        "overload": found,
        "sweep": {name: value for name, value in swept.items() if name != "steps"},
        "sweep_steps": [_short(step) for step in swept["steps"]],
    }


def _train(house: Installation, folder: Path, steps: int) -> tuple[Json, str]:
    """A model that learned a little: its recipe and the digest of its weights."""
    words = folder / "words"
    words.mkdir()
    write_words(words, num_files=12)
    house.command("ingest", str(words), "--name", "words")
    recipe = small_recipe("words", MODEL, steps)
    recipe["model"] |= {"context_length": 256, "width": 64}
    recipe["run"] |= {"evaluate_batches": 1}
    with house.client() as client:
        return recipe, client.wait(client.train(recipe).name).outputs["model"]


async def _overload(
    target: Target, mixture: Mixture, pace: Pace, house: Installation, up_pid: int, job: tuple[Json, str]
) -> tuple[Run, float, Job]:
    """The load; in its middle a job begins, and then the generator is killed."""
    assert pace.duration is not None
    bystander = Job(house.url, *job)

    async def kill() -> float:
        await asyncio.sleep(pace.duration / 2)
        bystander.start()
        await asyncio.sleep(min(5.0, pace.duration / 10))
        generator = await asyncio.to_thread(generator_of, up_pid)
        os.kill(generator.pid, signal.SIGKILL)
        now = time.time()
        _say(f"generator {generator.pid} killed")
        await asyncio.to_thread(bystander.join)
        return now

    run, killed = await asyncio.gather(apply(target, mixture, pace, name="over"), kill())
    return run, killed, bystander


async def _back_again(target: Target, mixture: Mixture) -> bool:
    """Whether a request is answered now, or soon."""
    for number in range(_PATIENCE_SECONDS):
        run = await apply(target, mixture, Pace(concurrency=1, num_prompts=1), name=f"back{number}")
        if run.outcomes[0].end == End.COMPLETED:
            return True
        await asyncio.sleep(1)
    return False


def _death(run: Run, killed: float, is_back: bool) -> Json:
    """What those under way were told, and when answers came again."""
    at = killed - run.started
    hit = [each for each in run.outcomes if each.sent < at <= each.ended and each.end != End.COMPLETED]
    after = [each for each in run.outcomes if each.sent >= at]
    first = min((each.first for each in after if each.end == End.COMPLETED and each.first), default=None)
    turned_away = [each for each in after if each.code == "503 UNAVAILABLE"]
    return {
        "at_seconds": at,
        "under_way_and_ended": _ends(hit),
        "turned_away_meanwhile": len(turned_away),
        "seconds_until_the_next_first_token": None if first is None else first - at,
        "is_back": is_back,
        "completed_afterwards": sum(each.end == End.COMPLETED for each in after),
    }


def _ends(outcomes: Sequence[Outcome]) -> dict[str, int]:
    names = [f"{each.end.value}: {each.code}" for each in outcomes]
    return {name: names.count(name) for name in sorted(set(names))}


def _verdict(
    book: Json,
    held: Json,
    death: Json,
    swept: Json,
    found: Json,
    registry: Registry,
    job: Job,
    seconds: float,
) -> dict[str, bool]:
    """What was promised, one by one."""
    kept = found["completed"] / max(found["duration"], 1e-9)
    judged = {
        "no request lost, none answered twice, both books agree": is_sound(book),
        "some were shed, each told when to come again": book["ends"].get("shed", 0) > 0,
        f"it answered {KEEPS:.0%} of its capacity all the while": kept >= KEEPS * swept["capacity"],
        "the machine itself never stood still": found["client"]["max_loop_lag_ms"] < _STOOD_STILL_MS,
        "service came back by itself": death["is_back"],
        "the registry answered throughout": not registry.failures and registry.num_asked > 0,
        "the job and its stream noticed nothing": not job.failure and job.num_events > 0,
    }
    if seconds >= _LONG_ENOUGH:
        judged["memory is flat"] = all(series.get("is_flat", True) for series in held.values())
    return judged


def _thinned(series: Series) -> dict[str, list[float]]:
    """About two hundred samples."""
    every = max(1, len(series.mib) // 200)
    return {"seconds": series.seconds[::every], "mib": series.mib[::every]}


def _told(registry: Registry) -> Json:
    return {
        "asked": registry.num_asked,
        "overloaded": registry.num_overloaded,
        "slowest_seconds": round(registry.slowest, 2),
        "failures": registry.failures[:20],
    }


def _short(step: Json) -> Json:
    """A step of the sweep without what only plots need."""
    return {name: value for name, value in step.items() if name not in ("timeline", "kinds", "problems")}


def draw(path: Path, found: Json, memory: Memory, killed: float) -> None:
    """Requests by their end, time to first token, memory: one time axis."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True)
    timeline = found["timeline"]
    draw_timeline(above, timeline)
    for name, style in (("median", "-"), ("p99", ":")):
        heights = [value or float("nan") for value in timeline[f"{name}_ttft_ms"]]
        middle.plot(timeline["seconds"], heights, style, color="#34568b", label=f"TTFT {name}, by when sent")
    middle.set(yscale="log", ylabel="milliseconds")
    middle.legend(fontsize="small")
    for name, series in memory.series.items():
        below.plot(series.seconds, series.mib, label=name)
    below.set(ylabel="resident MiB", xlabel="seconds", ylim=(0, None))
    below.legend(fontsize="small")
    for axes in (above, middle, below):
        axes.axvline(killed, color="#a33333", lw=1, ls="--")
        axes.grid(alpha=0.3)
    figure.suptitle("dashed: the generator is killed with -9")
    figure.savefig(path, dpi=110)


def _about(options: argparse.Namespace) -> Json:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": options.minutes,
        "times": options.times,
        "mixture": options.mix,
        "lengths": asdict(LENGTHS),
        "slots": options.slots,
        "queue": options.queue,
        "machine": {
            "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "load": [round(each, 1) for each in os.getloadavg()],
        },
        "versions": {name: version(name) for name in ("torch", "grpcio", "fastapi", "uvicorn", "aiohttp")},
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{datetime.now():%H:%M:%S} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
