"""Int8 beside torch's own dynamic int8 and beside our float32: one run, interleaved, seconds of CPU.

    python benchmarks/int8.py --out benchmarks/results/int8

Two tables: the matrices of a layer with 1, 8 and 32 rows (ours round each row by itself, torch.ao's
`quantize_dynamic` the whole batch), and greedy decoding of whole models. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vermeil_model import ModelConfig, PackedModel, SamplingParameters, TextModel, generate, int8_model
from vermeil_model.packed_matrix import pack_rows

WIDTHS = (384, 1024)
ROWS = (1, 8, 32)
PROMPT, TOKENS = 32, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "int8")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = {
        "what": "int8 weights; seconds of CPU, and ratios of medians over float32 of the same run",
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
            "threads": 1,
        },
        "repeats": arguments.repeats,
        "matrices": [matrices(width, rows, arguments.repeats) for width in WIDTHS for rows in ROWS],
        "decoding": [decoding(width, rows, arguments.repeats) for width in WIDTHS for rows in ROWS],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    for table in ("matrices", "decoding"):
        for line in report[table]:  # type: ignore[attr-defined]
            print(table, line["width"], line["rows"], line["times_as_quick_as_float32"])


def matrices(width: int, rows: int, repeats: int) -> dict[str, Any]:
    """All matrices of a layer, one after another."""
    text = TextModel(ModelConfig.from_depth(1, 256, width=width, num_heads=width // 64))
    shapes = [weight.shape for name, weight in text.layers[0].named_parameters() if weight.ndim == 2]
    inputs = [torch.randn(rows, shape[1]) for shape in shapes]
    plain = nn.ModuleList(nn.Linear(shape[1], shape[0], bias=False) for shape in shapes)
    with warnings.catch_warnings(action="ignore"):
        theirs = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)
    floats = list(_packed(text))
    int8_model(text)
    whole = list(_packed(text))

    def all_of(products: list[Callable[[Tensor], Tensor]]) -> Callable[[], object]:
        return lambda: [product(x_NI) for product, x_NI in zip(products, inputs, strict=True)]

    runs = {"float32": all_of(floats), "int8": all_of(whole), "quantize_dynamic": all_of(list(theirs))}
    return {"width": width, "rows": rows, **measured(runs, repeats, times=20)}


def _packed(text: TextModel) -> list[Callable[[Tensor], Tensor]]:
    block = text.layers[0]
    linears = (block.attention.qkv, block.attention.output, block.feed_forward.gate_up)
    return [pack_rows(linear)[0].apply for linear in (*linears, block.feed_forward.down)]


def decoding(width: int, rows: int, repeats: int) -> dict[str, Any]:
    """Greedy tokens of a model of six layers."""
    text = TextModel(ModelConfig.from_depth(6, 256, context_length=256, width=width, num_heads=width // 64))
    floats = PackedModel(text)
    int8_model(text)
    whole = PackedModel(text)
    prompts = torch.randint(256, (rows, PROMPT), generator=torch.Generator().manual_seed(1)).tolist()
    greedy = SamplingParameters(temperature=0, max_tokens=TOKENS)
    runs = {
        "float32": lambda: list(generate(floats, prompts, greedy)),
        "int8": lambda: list(generate(whole, prompts, greedy)),
    }
    return {"width": width, "rows": rows, **measured(runs, repeats, times=1)}


@torch.no_grad()
def measured(runs: dict[str, Callable[[], object]], repeats: int, times: int) -> dict[str, Any]:
    """Every run in turn, `repeats` times after one warm-up each."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            for _ in range(times):
                run()
            seconds[name].append((time.process_time() - start) / times)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "cpu_seconds": {
            name: {"median": medians[name], "low": min(each), "high": max(each)}
            for name, each in seconds.items()
        },
        "times_as_quick_as_float32": {
            name: round(medians["float32"] / median, 2) for name, median in medians.items()
        },
    }


if __name__ == "__main__":
    main()
