"""From outcomes to figures, with the names and definitions of `vllm bench serve`.

Latencies are of requests that completed, in milliseconds. ITL is the time between two pieces that carry
text; a server may send several tokens in a piece, TPOT counts tokens.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from vermeil_errors import InvalidInput

from vermeil_client.bench.load import Run
from vermeil_client.bench.outcome import End, Outcome

Json = dict[str, Any]

METRICS = ("ttft", "tpot", "itl", "e2el")
PERCENTILES = (50, 90, 95, 99)
DEFECTS = (End.LOST, End.WRONG)
LATE_SECONDS = 0.02
"""A client whose 99th percentile of lag is above this measures itself, not the server."""
BUSY_SHARE = 0.8
"""Of a processor; above it the client is the bottleneck."""
_NUM_BUCKETS = 120


def summary(run: Run, goodput: Mapping[str, float]) -> Json:
    """All figures of a run.

    Args:
        run: What was measured.
        goodput: Limits in milliseconds by metric, such as {"ttft": 200}.
    """
    outcomes = run.outcomes
    whole = [each for each in outcomes if each.end == End.COMPLETED]
    seconds = max((each.ended for each in outcomes), default=0.0) or 1e-9
    tokens_in, tokens_out = (
        sum(each.prompt_tokens for each in whole),
        sum(each.output_tokens for each in whole),
    )
    good = sum(_is_good(each, goodput) for each in whole)
    return {
        "started": run.started,
        "duration": seconds,
        "num_prompts": len(outcomes),
        "request_rate": run.pace.rate if run.pace.rate is not None else "inf",
        "max_concurrency": None if run.pace.rate is not None else run.pace.concurrency,
        "offered_rate": len(outcomes) / _sending_seconds(run),
        "completed": len(whole),
        "failed": len(outcomes) - len(whole),
        "total_input_tokens": tokens_in,
        "total_output_tokens": tokens_out,
        "request_throughput": len(whole) / seconds,
        "request_goodput": good / seconds if goodput else None,
        "goodput": dict(goodput),
        "output_throughput": tokens_out / seconds,
        "total_token_throughput": (tokens_in + tokens_out) / seconds,
        "max_concurrent_requests": run.max_concurrent,
        **latencies(whole),
        "ends": dict(Counter(each.end.value for each in outcomes)),
        "errors": dict(Counter(f"{each.end.value}: {each.code}" for each in outcomes if each.code)),
        "problems": _examples(outcomes),
        "kinds": {kind: _of_kind(outcomes, kind) for kind in sorted({each.kind for each in outcomes})},
        "client": client_figures(run),
        "timeline": timeline(outcomes, seconds),
    }


def latencies(outcomes: Sequence[Outcome]) -> Json:
    """Mean, median, deviation and percentiles of every metric, such as `p99_ttft_ms`."""
    found: Json = {}
    for metric, seconds in values(outcomes).items():
        if seconds.size == 0:
            continue
        milliseconds = seconds * 1000
        found[f"mean_{metric}_ms"] = float(milliseconds.mean())
        found[f"median_{metric}_ms"] = float(np.median(milliseconds))
        found[f"std_{metric}_ms"] = float(milliseconds.std())
        for percentile in PERCENTILES:
            found[f"p{percentile}_{metric}_ms"] = float(np.percentile(milliseconds, percentile))
    return found


def values(outcomes: Iterable[Outcome]) -> dict[str, "np.ndarray[Any, np.dtype[np.float64]]"]:
    """Every metric's values in seconds."""
    whole = list(outcomes)
    gaps = [np.frombuffer(each.gaps, np.float32) for each in whole if each.gaps]
    return {
        "ttft": np.array([each.ttft for each in whole if each.ttft is not None], np.float64),
        "tpot": np.array([each.tpot for each in whole if each.tpot is not None], np.float64),
        "itl": np.concatenate(gaps).astype(np.float64) if gaps else np.zeros(0),
        "e2el": np.array([each.e2el for each in whole], np.float64),
    }


def client_figures(run: Run) -> Json:
    """How late and how busy this client was; `is_late` if that shows in the figures."""
    late = np.array([each.sent - each.scheduled for each in run.outcomes])
    lags = np.array(run.lags, np.float64)
    figures = {
        "cpu_share": run.cpu_seconds / max(run.wall_seconds, 1e-9),
        "cpu_ms_per_request": 1000 * run.cpu_seconds / max(len(run.outcomes), 1),
        "p99_send_lag_ms": _milliseconds(late, 99),
        "max_send_lag_ms": _milliseconds(late, 100),
        "p99_loop_lag_ms": _milliseconds(lags, 99),
        "max_loop_lag_ms": _milliseconds(lags, 100),
    }
    worst = max(figures["p99_send_lag_ms"], figures["p99_loop_lag_ms"])
    return {**figures, "is_late": worst > LATE_SECONDS * 1000 or figures["cpu_share"] > BUSY_SHARE}


def timeline(outcomes: Sequence[Outcome], seconds: float) -> Json:
    """What was sent and how requests ended, in so many steps; latencies by when a request was sent."""
    width = seconds / _NUM_BUCKETS
    sent: list[list[Outcome]] = [[] for _ in range(_NUM_BUCKETS)]
    ended: list[Counter[str]] = [Counter() for _ in range(_NUM_BUCKETS)]
    for each in outcomes:
        sent[min(int(each.sent / width), _NUM_BUCKETS - 1)].append(each)
        ended[min(int(each.ended / width), _NUM_BUCKETS - 1)][each.end.value] += 1
    ends = [end.value for end in End if any(counts[end.value] for counts in ended)]
    ttfts = [values(each for each in bucket if each.end == End.COMPLETED)["ttft"] for bucket in sent]
    return {
        "seconds": [round((place + 0.5) * width, 3) for place in range(_NUM_BUCKETS)],
        "sent_per_second": [len(bucket) / width for bucket in sent],
        "ended_per_second": {end: [counts[end] / width for counts in ended] for end in ends},
        "median_ttft_ms": [_milliseconds(each, 50) if each.size else None for each in ttfts],
        "p99_ttft_ms": [_milliseconds(each, 99) if each.size else None for each in ttfts],
    }


def goodput_from(text: str) -> dict[str, float]:
    """Limits as they are written: `ttft:200 tpot:50`, in milliseconds."""
    limits: dict[str, float] = {}
    for part in text.replace(",", " ").split():
        metric, _, milliseconds = part.partition(":")
        try:
            limits[metric] = float(milliseconds)
        except ValueError:
            limits[metric] = -1.0
        if metric not in ("ttft", "tpot", "e2el") or not limits[metric] > 0:
            problem, fix = "is no limit", "write such as 'ttft:200 tpot:50 e2el:2000', in milliseconds"
            raise InvalidInput.for_field("--goodput", part, problem, fix)
    return limits


def _is_good(outcome: Outcome, limits: Mapping[str, float]) -> bool:
    found = {"ttft": outcome.ttft, "tpot": outcome.tpot, "e2el": outcome.e2el}
    return all((found[metric] or 0.0) * 1000 <= limit for metric, limit in limits.items())


def _sending_seconds(run: Run) -> float:
    """How long requests were sent: a rate is offered for its whole duration, also after the last one."""
    last = max((each.scheduled for each in run.outcomes), default=0.0)
    ends = run.pace.duration if run.pace.rate is not None and run.pace.num_prompts is None else None
    return max(ends or last, 1e-9)


def _of_kind(outcomes: Iterable[Outcome], kind: str) -> Json:
    own = [each for each in outcomes if each.kind == kind]
    whole = [each for each in own if each.end == End.COMPLETED]
    return {"num_prompts": len(own), "completed": len(whole), **latencies(whole)}


def _examples(outcomes: Iterable[Outcome]) -> Json:
    """The first problem of each kind, with the id of its request."""
    first: Json = {}
    for each in outcomes:
        if each.code:
            first.setdefault(f"{each.end.value}: {each.code}", {"id": each.id, "problem": each.problem})
    return first


def _milliseconds(seconds: "np.ndarray[Any, np.dtype[np.float64]]", percentile: float) -> float:
    return float(np.percentile(seconds, percentile)) * 1000 if seconds.size else 0.0
