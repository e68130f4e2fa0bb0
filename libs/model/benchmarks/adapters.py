"""Sequences of many adapters in one batch, beside the base alone and a decoder for each adapter.

    python benchmarks/adapters.py --out benchmarks/results/adapters

16 greedy answers at once, dealt out among 1, 4 and 16 adapters of rank 8 over all matrices. The ways take
turns: `base`, the same prompts without adapters; `together`, one decoder whose rows have adapters of their
own; `apart`, a decoder for each adapter over the same weights; `merged`, a decoder and a merged copy of the
weights for each. CPU seconds decide, for machines that are not quiet. Writes adapters.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from decode import DTYPES, Tokens, equal_share, machine, spread
from vermeil_model import (
    AdapterConfig,
    Decoder,
    ModelConfig,
    PackedAdapter,
    PackedModel,
    Request,
    SamplingParameters,
    TextModel,
    merged,
)
from vermeil_model.adapter import Adapter, Difference, difference_name, target_shapes

BATCH = 16
PROMPT = 16


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    config = ModelConfig.from_depth(6, 256, context_length=256)
    load_before = os.getloadavg()
    rows = []
    for dtype, count in itertools.product(arguments.dtypes, (1, 4, 16)):
        rows.append(row := measure(config, dtype, count, arguments))
        costs = {name: f"{cost['median']:.2f}" for name, cost in row["cpu_over_base"].items()}
        print(dtype, count, "adapters, CPU time over that of the base:", costs, flush=True)
    report = {
        "what": f"{BATCH} greedy answers of {arguments.tokens} tokens, 10.7 M parameters, adapters of rank 8",
        "machine": machine()
        | {"threads": arguments.threads, "load_before": load_before, "load_after": os.getloadavg()},
        "repeats": arguments.repeats,
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "adapters")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    return parser.parse_args()


def measure(config: ModelConfig, dtype: str, count: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """All ways in turn, `repeats` times after a warm-up each."""
    model = TextModel(config).to(DTYPES[dtype])
    packed = PackedModel(model)
    adapters = [drawn_adapter(config, seed) for seed in range(count)]
    ready = [PackedAdapter(adapter, packed) for adapter in adapters]
    wholes = [PackedModel(merged(model, adapter)) for adapter in adapters]
    prompts = torch.randint(256, (BATCH, PROMPT), generator=torch.Generator().manual_seed(1)).tolist()
    parameters = SamplingParameters(temperature=0.0, max_tokens=arguments.tokens)

    def asked(places: Sequence[int], over: Sequence[PackedAdapter | None]) -> list[Request]:
        return [Request(prompts[p], parameters, adapter=over[p % len(over)]) for p in places]

    everything = range(BATCH)
    shares = [everything[first::count] for first in range(count)]
    ways: dict[str, Callable[[], Tokens]] = {
        "base": lambda: decode([(packed, asked(everything, [None]))]),
        "together": lambda: decode([(packed, asked(everything, ready))]),
        "apart": lambda: decode([(packed, asked(share, ready)) for share in shares]),
        "merged": lambda: decode([(w, asked(s, [None])) for w, s in zip(wholes, shares, strict=True)]),
    }
    tokens = {name: way() for name, way in ways.items()}
    in_order = [tokens["together"][place] for share in shares for place in share]
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            cpu_start, start = time.process_time(), time.perf_counter()
            way()
            cpu[name].append(time.process_time() - cpu_start)
            wall[name].append(time.perf_counter() - start)
    over_base = {
        name: spread([mine / base for mine, base in zip(times, cpu["base"], strict=True)])
        for name, times in cpu.items()
    }
    return {
        "dtype": dtype,
        "adapters": count,
        "adapter_bytes": ready[0].num_bytes,
        "cpu_over_base": over_base,
        "cpu_seconds": {name: spread(times) for name, times in cpu.items()},
        "wall_seconds": {name: spread(times) for name, times in wall.items()},
        "tokens_equal_to_merged": equal_share(in_order, tokens["merged"]),
    }


def drawn_adapter(config: ModelConfig, seed: int) -> Adapter:
    """An adapter by chance that changes what is said."""
    settings, shapes = AdapterConfig(), target_shapes(config)
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.empty(shape).normal_(0.0, 0.3 * shape[-1] ** -0.5, generator=generator)

    differences = {
        difference_name(layer, target): Difference(
            drawn(settings.rank, shapes[target][1]), drawn(shapes[target][0], settings.rank)
        )
        for layer in range(config.depth)
        for target in settings.targets
    }
    return Adapter(settings, differences)


def decode(parts: Sequence[tuple[PackedModel, list[Request]]]) -> Tokens:
    """Decoders that take turns; the answers, part by part."""
    decoders = [(Decoder(model, num_slots=len(requests)), requests) for model, requests in parts]
    said: list[dict[int, list[int]]] = []
    for decoder, requests in decoders:
        said.append({number: [] for number in decoder.add(requests)})
    while any(decoder.sequences for decoder, _ in decoders):
        for (decoder, _), answers in zip(decoders, said, strict=True):
            for event in decoder.step():
                answers[event.sequence].append(event.token)
    return [answer for answers in said for answer in answers.values()]


if __name__ == "__main__":
    main()
