"""Greedy decoding beside transformers' generate: same weights, same prompts, one run, interleaved.

    python benchmarks/decode.py --out benchmarks/results/decode

Writes decode.json and decode.png and prints a table. Times are of whole calls, prompts included; CPU
seconds stand beside wall time for machines that are not quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
import transformers
from vermeil_model import ModelConfig, PackedModel, SamplingParameters, TextModel, export_llama, generate

mpl.use("Agg")
from matplotlib import pyplot

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Tokens = list[list[int]]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    config = ModelConfig.from_depth(6, 256, context_length=256, qk_norm=False)
    load_before = os.getloadavg()
    rows = [
        measure(config, dtype, batch, arguments) for dtype in arguments.dtypes for batch in arguments.batches
    ]
    report = {
        "what": "greedy decoding, 10.7 M parameters, "
        f"prompt {arguments.prompt}, {arguments.tokens} new tokens",
        "machine": machine()
        | {"threads": arguments.threads, "load_before": load_before, "load_after": os.getloadavg()},
        "repeats": arguments.repeats,
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    draw(report, arguments.out.with_suffix(".png"))
    print_table(report)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "decode")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    return parser.parse_args()


def measure(config: ModelConfig, dtype: str, batch: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both decoders in turn, `repeats` times after one warm-up each."""
    model = TextModel(config).to(DTYPES[dtype])
    packed, stock = PackedModel(model), stock_model(model)
    drawn = torch.randint(256, (batch, arguments.prompt), generator=torch.Generator().manual_seed(1))
    prompts = drawn.tolist()
    runs: dict[str, Callable[[], Tokens]] = {
        "vermeil": lambda: decode_ours(packed, prompts, arguments.tokens),
        "transformers": lambda: decode_stock(stock, drawn, arguments.tokens),
    }
    tokens = {name: run() for name, run in runs.items()}
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.process_time() - cpu_start)
    num_tokens = batch * arguments.tokens
    ours, theirs = wall["vermeil"], wall["transformers"]
    return {
        "dtype": dtype,
        "batch": batch,
        "tokens_per_second": {name: spread([num_tokens / t for t in times]) for name, times in wall.items()},
        "cpu_seconds": {name: spread(times) for name, times in cpu.items()},
        "ratio": spread([b / a for a, b in zip(ours, theirs, strict=True)]),
        "cpu_ratio": spread([b / a for a, b in zip(cpu["vermeil"], cpu["transformers"], strict=True)]),
        "share_of_equal_tokens": equal_share(tokens["vermeil"], tokens["transformers"]),
    }


def stock_model(model: TextModel) -> transformers.PreTrainedModel:
    """The same weights as a LlamaForCausalLM."""
    with tempfile.TemporaryDirectory() as folder:
        export_llama(
            Path(folder), model, extra={"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
        )
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=model.embedding.weight.dtype
        ).eval()


def decode_ours(model: PackedModel, prompts: Tokens, num_tokens: int) -> Tokens:
    tokens: Tokens = [[] for _ in prompts]
    parameters = SamplingParameters(temperature=0, max_tokens=num_tokens)
    for event in generate(model, prompts, parameters):
        tokens[event.sequence].append(event.token)
    return tokens


def decode_stock(model: transformers.PreTrainedModel, prompts: torch.Tensor, num_tokens: int) -> Tokens:
    output = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=num_tokens,
        min_new_tokens=num_tokens,
        do_sample=False,
    )
    tokens: Tokens = output[:, prompts.shape[1] :].tolist()
    return tokens


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def equal_share(ours: Tokens, theirs: Tokens) -> float:
    pairs = [a == b for row, other in zip(ours, theirs, strict=True) for a, b in zip(row, other, strict=True)]
    return sum(pairs) / len(pairs)


def machine() -> dict[str, Any]:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "processor": models[0].split(":")[1].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def draw(report: dict[str, Any], path: Path) -> None:
    dtypes = list(dict.fromkeys(row["dtype"] for row in report["rows"]))
    figure, axes = pyplot.subplots(1, len(dtypes), figsize=(5 * len(dtypes), 4), sharey=True, squeeze=False)
    for axis, dtype in zip(axes[0], dtypes, strict=True):
        rows = [row for row in report["rows"] if row["dtype"] == dtype]
        for name, marker in (("vermeil", "o"), ("transformers", "s")):
            speeds = [row["tokens_per_second"][name] for row in rows]
            medians = [speed["median"] for speed in speeds]
            ranges = [
                [speed["median"] - speed["low"] for speed in speeds],
                [speed["high"] - speed["median"] for speed in speeds],
            ]
            axis.errorbar(
                [row["batch"] for row in rows], medians, yerr=ranges, marker=marker, label=name, capsize=3
            )
        axis.set(xscale="log", yscale="log", xlabel="sequences at once", title=dtype)
        axis.set_xticks([row["batch"] for row in rows], [str(row["batch"]) for row in rows])
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    axes[0][0].set_ylabel("tokens per second")
    figure.suptitle(report["what"])
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def print_table(report: dict[str, Any]) -> None:
    print(report["what"], report["machine"], sep="\n")
    print(
        f"{'dtype':10}{'batch':>6}{'vermeil tok/s':>24}{'transformers tok/s':>26}"
        f"{'ratio':>8}{'of CPU':>8}{'equal':>8}"
    )
    for row in report["rows"]:
        cells = [
            f"{speed['median']:.0f} ({speed['low']:.0f}–{speed['high']:.0f})"
            for speed in (row["tokens_per_second"][name] for name in ("vermeil", "transformers"))
        ]
        print(
            f"{row['dtype']:10}{row['batch']:>6}{cells[0]:>24}{cells[1]:>26}{row['ratio']['median']:>8.2f}"
            f"{row['cpu_ratio']['median']:>8.2f}{row['share_of_equal_tokens']:>8.1%}"
        )


if __name__ == "__main__":
    main()
