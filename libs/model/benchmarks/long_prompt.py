"""What a long prompt does to running answers: read whole between two steps, or in parts.

    python benchmarks/long_prompt.py --out benchmarks/results/long-prompt

Eight answers are being written by a model of 10.7 M parameters when a prompt of 3,000 tokens comes. What
counts is the longest that the eight wait for a token, and when the long one gets its first. CPU time of the
only thread, for machines that are not quiet. Writes long-prompt.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from decode import machine, spread
from vermeil_model import Decoder, ModelConfig, PackedModel, Request, SamplingParameters, TextModel

RUNNING = 8
LONG = 3000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "long-prompt")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chunks", type=int, nargs="+", default=[128, 256, 512, LONG])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load_before = os.getloadavg()
    model = PackedModel(TextModel(ModelConfig.from_depth(6, 256, context_length=4096)))
    times: dict[int, list[tuple[list[float], float]]] = {chunk: [] for chunk in arguments.chunks}
    for number in range(arguments.repeats + 1):
        for chunk, found in times.items():
            waits = waits_until_read(Decoder(model, num_slots=RUNNING + 1, chunk=chunk))
            if number:  # the first warms up
                found.append(waits)
    rows = [
        {
            "chunk": chunk,
            "longest_wait_ms": spread([max(waits) * 1e3 for waits, _ in found]),
            "first_token_ms": spread([first * 1e3 for _, first in found]),
            "num_steps": len(found[0][0]),
        }
        for chunk, found in times.items()
    ]
    report = {
        "what": f"{RUNNING} running answers and a prompt of {LONG} tokens, float32, CPU time of one thread",
        "machine": machine() | {"load_before": load_before, "load_after": os.getloadavg()},
        "repeats": arguments.repeats,
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(report["what"], report["machine"], sep="\n")
    for row in rows:
        print(json.dumps(row))


def waits_until_read(decoder: Decoder) -> tuple[list[float], float]:
    """Seconds that the eight wait for each token while the long prompt is read; seconds to its own first."""
    greedy = SamplingParameters(temperature=0, max_tokens=1000)
    decoder.add([Request([number] * 32, greedy) for number in range(RUNNING)])
    for _ in range(5):
        decoder.step()
    (long,) = decoder.add([Request([place % 251 for place in range(LONG)], greedy)])
    waits: list[float] = []
    began = told = time.thread_time()
    first = 0.0
    while True:
        said = {event.sequence for event in decoder.step()}
        now = time.thread_time()
        if long in said and not first:
            first = now - began
        if len(said) >= RUNNING:
            waits.append(now - told)
            told = now
            if first:
                return waits, first


if __name__ == "__main__":
    main()
