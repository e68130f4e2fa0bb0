"""What `vermeil bench serve` does, in order: warm up, put under load, write files, tell people."""

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.progress import Progress, TaskID
from vermeil_errors import InvalidInput, NotFound, Unavailable

from vermeil_client.bench.figures import DEFECTS, summary
from vermeil_client.bench.load import Pace, Target, apply
from vermeil_client.bench.mixture import Mixture, shares_for, shares_from
from vermeil_client.bench.outcome import End, Outcome
from vermeil_client.bench.plots import draw_run, draw_sweep
from vermeil_client.bench.sweep import sweep
from vermeil_client.client import Vermeil
from vermeil_client.commands.output import Output, bars
from vermeil_client.settings import ClientSettings
from vermeil_client.transport import Json


@dataclass(frozen=True)
class Plan:
    """What is measured, and where the figures go."""

    target: Target
    mixture: Mixture
    pace: Pace
    goodput: dict[str, float]
    result_dir: Path | None
    save_detailed: bool
    name: str = field(default_factory=lambda: f"bench-{uuid.uuid4().hex[:8]}")
    """Beginning of the ids of its requests."""


def target_of(client: Vermeil, timeout: float) -> Target:
    """The server that a client talks to."""

    key = ClientSettings.load().api_key
    url = client.transport.url.rstrip("/").removesuffix("/v1")
    return Target(url, key.get_secret_value() if key else "", timeout)


def shares_of(client: Vermeil, model: str, mix: str) -> dict[str, float]:
    """As asked for, or what the server says that the model can do; where it says nothing, text."""

    if mix:
        return shares_from(mix)
    try:
        known = client.transport.get(f"/v1/models/{model}")
    except NotFound:
        known = {}
    return shares_for(known.get("input_modalities", ["text"]), known.get("output_modalities", ["text"]))


async def warm_up(plan: Plan) -> None:
    """One request of each kind: the model gets loaded, and what the server does not take is said at once."""

    kinds = list(plan.mixture.shares)
    for kind in kinds:
        alone = replace(plan.mixture, shares={kind: 1.0})
        run = await apply(
            plan.target, alone, Pace(concurrency=1, num_prompts=1), name=f"{plan.name}-warm-{kind}"
        )
        (outcome,) = run.outcomes
        if outcome.end == End.REFUSED:
            raise InvalidInput(
                f"a request of kind {kind} was refused: {outcome.problem}",
                fix="shorten --long-input and --long-output, or choose other kinds with --mix",
            )
        if outcome.end == End.UNREACHABLE:
            raise Unavailable(f"no answer from {plan.target.url}: {outcome.problem}", fix="set VERMEIL_URL")


def serve(output: Output, plan: Plan) -> bool:
    """One load; whether every answer was whole."""

    with bars(quiet=output.as_json) as progress:
        bar = progress.add_task("requests", total=plan.pace.num_prompts, figures="")
        told = partial(_advance, progress, bar)
        run = asyncio.run(apply(plan.target, plan.mixture, plan.pace, name=plan.name, on_outcome=told))
    found = _headed(plan, summary(run, plan.goodput))
    _write(plan, "serve", found, lambda path: draw_run(path, found, run.outcomes))
    if plan.save_detailed and plan.result_dir:
        with (plan.result_dir / "requests.jsonl").open("w", encoding="utf-8") as file:
            for each in run.outcomes:
                row = asdict(each) | {"gaps": None, "itls": [round(gap, 6) for gap in each.gaps]}
                file.write(json.dumps({name: value for name, value in row.items() if name != "gaps"}) + "\n")
    _show(output, found)
    return not any(found["ends"].get(end.value) for end in DEFECTS)


def sweep_rates(output: Output, plan: Plan, rates: Sequence[float]) -> bool:
    """Load after load; whether every answer was whole."""

    sweeping = sweep(
        plan.target,
        plan.mixture,
        plan.pace,
        name=plan.name,
        goodput=plan.goodput,
        rates=rates,
        say=output.say,
    )
    found = _headed(plan, asyncio.run(sweeping))
    _write(plan, "sweep", found, lambda path: draw_sweep(path, found))
    if output.as_json:
        output.show(found)
    saturation, ratio = found["saturation_rate"], found["ttft_over_idle_at_saturation"]
    output.say(f"capacity {found['capacity']:.2f} requests/s; one alone has its first token after")
    output.say(f"{found['idle_median_ttft_ms'] or float('nan'):.1f} ms.")
    if saturation is not None:
        output.say(
            f"Up to {saturation:.2f}/s it keeps up, there with {ratio or float('nan'):.1f} times that."
        )
    return not any(step["ends"].get(end.value) for step in found["steps"] for end in DEFECTS)


def _headed(plan: Plan, found: Json) -> Json:
    """With what was measured, as people need it who find the file."""
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "backend": "openai-chat",
        "base_url": plan.target.url,
        "model_id": plan.mixture.model,
        "mixture": dict(plan.mixture.shares),
        "lengths": asdict(plan.mixture.lengths),
        "seed": plan.mixture.seed,
        "request_ids": f"{plan.name}-…",
    }
    return about | found


def _write(plan: Plan, name: str, found: Json, draw: Callable[[Path], None]) -> None:
    if plan.result_dir is None:
        return
    plan.result_dir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=2, ensure_ascii=False)
    (plan.result_dir / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    draw(plan.result_dir / f"{name}.png")


def _advance(progress: Progress, bar: TaskID, outcome: Outcome) -> None:
    progress.update(bar, advance=1, figures=f"{outcome.kind}: {outcome.end.value}")


def _show(output: Output, found: Json) -> None:
    """The figures for people, in vLLM's words."""
    if output.as_json:
        output.show(found)
        return
    ends = ", ".join(f"{number:,} {end}" for end, number in found["ends"].items())
    output.say(f"{found['num_prompts']:,} requests in {found['duration']:.1f} s: {ends}")
    output.say(f"request throughput {found['request_throughput']:.2f}/s, at most"
               f" {found['max_concurrent_requests']} at once")  # fmt: skip
    if found["request_goodput"] is not None:
        output.say(f"request goodput {found['request_goodput']:.2f}/s within {found['goodput']}")
    output.say(f"output throughput {found['output_throughput']:.1f} tok/s")
    parts = ("mean", "median", "p90", "p95", "p99")
    rows = [
        {"milliseconds": metric.upper()}
        | {part: f"{found[f'{part}_{metric}_ms']:.1f}" for part in parts if f"{part}_{metric}_ms" in found}
        for metric in ("ttft", "tpot", "itl", "e2el")
    ]
    output.table(["milliseconds", *parts], rows)
    for name, number in found["errors"].items():
        example = found["problems"][name]
        output.say(f"{number:,} × {name}, such as {example['id']}: {example['problem']}")
    if found["client"]["is_late"]:
        client = {name: round(value, 2) for name, value in found["client"].items()}
        output.say(f"! this client is late or busy, and the figures with it: {client}")
