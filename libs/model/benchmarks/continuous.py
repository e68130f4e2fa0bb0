"""Continuous batching beside transformers': 32 requests of mixed length at once, same weights, one run.

    python benchmarks/continuous.py --out benchmarks/results/continuous

Greedy answers to prompts of 8 to 128 tokens, from 8 tokens up to as many as asked for. transformers' manager
is started and warmed up before, told the sizes to come, and gets each request's own length; what it takes to
start it does not count. Its cache is sized for the requests: left to itself it takes nearly all memory.

Writes continuous.json and prints a table. CPU seconds stand beside wall time for machines that are not quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from decode import DTYPES, Tokens, equal_share, machine, spread, stock_model
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.utils import WorkloadHints
from vermeil_model import Decoder, ModelConfig, PackedModel, Request, SamplingParameters, TextModel


class Task(NamedTuple):
    """A prompt and how many tokens are wanted after it."""

    prompt: list[int]
    num_tokens: int


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    config = ModelConfig.from_depth(6, 256, context_length=256, qk_norm=False)
    load_before = os.getloadavg()
    rows = [measure(config, dtype, arguments) for dtype in arguments.dtypes]
    report = {
        "what": f"{arguments.requests} requests at once, prompts of 8 to 128 tokens, "
        f"answers of 8 to {arguments.longest}, "
        "10.7 M parameters",
        "machine": machine()
        | {"threads": arguments.threads, "load_before": load_before, "load_after": os.getloadavg()},
        "repeats": arguments.repeats,
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(report["what"], report["machine"], sep="\n")
    for row in rows:
        speeds = {name: f"{speed['median']:.0f}" for name, speed in row["tokens_per_second"].items()}
        print(
            row["dtype"],
            speeds,
            f"ratio {row['ratio']['median']:.2f}, of CPU {row['cpu_ratio']['median']:.2f}",
        )
        print(f"{row['share_of_equal_tokens']:.1%} of tokens equal")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "continuous")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--longest", type=int, default=112, help="tokens of an answer")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    return parser.parse_args()


def measure(config: ModelConfig, dtype: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both in turn, `repeats` times after one warm-up each."""
    draw = random.Random(1)
    tasks = [
        Task([draw.randrange(256) for _ in range(draw.randint(8, 128))], draw.randint(8, arguments.longest))
        for _ in range(arguments.requests)
    ]
    model = TextModel(config).to(DTYPES[dtype])
    decoder = Decoder(PackedModel(model), num_slots=arguments.requests)
    stock = stock_model(model)
    hints = WorkloadHints(128, arguments.longest, arguments.requests)
    sizes = ContinuousBatchingConfig(num_blocks=2 * arguments.requests, max_batch_tokens=512)
    wall: dict[str, list[float]] = {"vermeil": [], "transformers": []}
    cpu: dict[str, list[float]] = {"vermeil": [], "transformers": []}
    greedy = transformers.GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)
    with stock.continuous_batching_context_manager(
        greedy, continuous_batching_config=sizes, workload_hints=hints
    ) as manager:
        runs: dict[str, Callable[[list[Task]], Tokens]] = {
            "vermeil": lambda given: answer_ours(decoder, given),
            "transformers": lambda given: answer_stock(manager, given),
        }
        tokens = {name: run(tasks[:4]) for name, run in runs.items()}
        for _ in range(arguments.repeats):
            for name, run in runs.items():
                wall_start, cpu_start = time.perf_counter(), time.process_time()
                tokens[name] = run(tasks)
                wall[name].append(time.perf_counter() - wall_start)
                cpu[name].append(time.process_time() - cpu_start)
    num_tokens = sum(task.num_tokens for task in tasks)
    pairs = zip(wall["vermeil"], wall["transformers"], strict=True)
    cpu_pairs = zip(cpu["vermeil"], cpu["transformers"], strict=True)
    return {
        "dtype": dtype,
        "tokens_per_second": {name: spread([num_tokens / t for t in times]) for name, times in wall.items()},
        "cpu_seconds": {name: spread(times) for name, times in cpu.items()},
        "ratio": spread([theirs / ours for ours, theirs in pairs]),
        "cpu_ratio": spread([theirs / ours for ours, theirs in cpu_pairs]),
        "share_of_equal_tokens": equal_share(tokens["vermeil"], tokens["transformers"]),
    }


def answer_ours(decoder: Decoder, tasks: list[Task]) -> Tokens:
    requests = [
        Request(task.prompt, SamplingParameters(temperature=0, max_tokens=task.num_tokens)) for task in tasks
    ]
    said: dict[int, list[int]] = {number: [] for number in decoder.add(requests)}
    while decoder.sequences:
        for event in decoder.step():
            said[event.sequence].append(event.token)
    return list(said.values())


def answer_stock(manager: Any, tasks: list[Task]) -> Tokens:
    numbers = [manager.add_request(task.prompt, max_new_tokens=task.num_tokens) for task in tasks]
    said: dict[str, list[int]] = {}
    while len(said) < len(tasks):
        result = manager.get_result(timeout=1)
        if result is not None and result.is_finished():
            said[result.request_id] = result.generated_tokens
    return [said[number] for number in numbers]


if __name__ == "__main__":
    main()
