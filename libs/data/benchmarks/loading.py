"""Samples per second from encoded shards, beside Hugging Face datasets and raw memory maps.

    python libs/data/benchmarks/loading.py        # about two minutes; needs vermeil-data[bench,loading]

A sample is one window of context_length tokens with its targets, as int64 tensors. All readers take
turns on the same 12 million tokens in one process; figures are medians over the rounds, per second of
wall time and per second of CPU time (all threads), for machines on which others work too.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import matplotlib as mpl
import numpy as np
import torch
from vermeil_data import EncodedDataset, Loader, TokenizerSpec
from vermeil_data.testing import documents, encoded_texts

RESULTS = Path(__file__).parent / "results"
SHAPES = ((64, 12), (64, 256), (256, 12), (1024, 32))
"""(context length, batch size); 64 × 12 is nanoGPT's configuration for a CPU."""
ROUNDS = 7
SECONDS = 0.4
Next = Callable[[], object]


def vermeil(encoded: EncodedDataset, mode: Any) -> Callable[[int, int], Next]:
    def open_reader(length: int, rows: int) -> Next:
        return Loader(encoded, "train", length, rows, seed=0, mode=mode).__next__

    return open_reader


def memory_map(path: Path) -> Callable[[int, int], Next]:
    """The least that can be done: copy random windows out of a map, all at once."""

    def open_reader(length: int, rows: int) -> Next:
        ids = np.memmap(path, np.uint16, "r")
        windows = np.lib.stride_tricks.sliding_window_view(ids, length + 1)
        random = np.random.default_rng(0)

        def read() -> object:
            chosen = windows[random.integers(0, len(windows), rows)]
            return torch.from_numpy(chosen[:, :-1].astype(np.int64)), torch.from_numpy(
                chosen[:, 1:].astype(np.int64)
            )

        return read

    return open_reader


def nanogpt(path: Path) -> Callable[[int, int], Next]:
    """get_batch of nanoGPT's train.py."""

    def open_reader(length: int, rows: int) -> Next:
        def read() -> object:
            data = np.memmap(path, dtype=np.uint16, mode="r")
            ix = torch.randint(len(data) - length, (rows,))
            x = torch.stack([torch.from_numpy((data[i : i + length]).astype(np.int64)) for i in ix])
            y = torch.stack([torch.from_numpy((data[i + 1 : i + 1 + length]).astype(np.int64)) for i in ix])
            return x, y

        return read

    return open_reader


def hugging_face(path: Path, *, shuffled: bool) -> Callable[[int, int], Next]:
    """Fixed windows as rows of a memory-mapped dataset, read in batches as tensors."""

    def open_reader(length: int, rows: int) -> Next:
        ids = np.fromfile(path, np.uint16)
        windows = ids[: len(ids) // (length + 1) * (length + 1)].reshape(-1, length + 1)
        table = datasets.Dataset.from_dict({"input_ids": list(windows)})
        folder = path.parent / f"rows-{length}"
        table.save_to_disk(str(folder))
        loaded = datasets.load_from_disk(str(folder)).with_format("torch")
        if shuffled:
            random = np.random.default_rng(0)
            return lambda: _pair(loaded[random.integers(0, len(loaded), rows)])

        def forever() -> Iterator[object]:
            while True:
                for batch in loaded.iter(rows):
                    yield _pair(batch)

        return forever().__next__

    return open_reader


def _pair(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    ids = batch["input_ids"].to(torch.int64)
    return ids[:, :-1], ids[:, 1:]


def measure(read: Next, rows: int) -> tuple[float, float]:
    """Samples per second of wall time and of CPU time."""
    read()
    num_samples = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < SECONDS:
        for _ in range(8):
            read()
        num_samples += 8 * rows
    return num_samples / (time.perf_counter() - wall), num_samples / (time.process_time() - cpu)


def figures(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def run(folder: Path) -> list[dict[str, Any]]:
    lines = documents(230_000)
    texts = ["".join(lines[start : start + 50]) for start in range(0, len(lines), 50)]
    encoded = encoded_texts(folder, {"train": texts}, TokenizerSpec("byte"))
    flat = folder / "train.bin"
    encoded.tokens("train").ids_N.tofile(flat)
    print(f"{len(encoded.tokens('train').ids_N):,} tokens in {len(texts):,} documents")
    readers = {
        "vermeil random": vermeil(encoded, "random"),
        "vermeil packed": vermeil(encoded, "packed"),
        "raw memory map": memory_map(flat),
        "nanoGPT get_batch": nanogpt(flat),
        "datasets, in order": hugging_face(flat, shuffled=False),
        "datasets, random": hugging_face(flat, shuffled=True),
    }
    rows = []
    for length, batch_size in SHAPES:
        opened = {name: reader(length, batch_size) for name, reader in readers.items()}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
        for _ in range(ROUNDS):
            for name, read in opened.items():
                taken[name].append(measure(read, batch_size))
        for name, pairs in taken.items():
            wall, cpu = (figures([pair[axis] for pair in pairs]) for axis in (0, 1))
            shape = {"context_length": length, "batch_size": batch_size}
            rows.append({"reader": name, **shape, "per_second": wall, "per_cpu_second": cpu})
            print(
                f"{length:5} × {batch_size:<4} {name:20} {wall['median']:12,.0f} samples/s "
                f"({wall['low']:,.0f} to {wall['high']:,.0f}), {cpu['median']:12,.0f} per CPU second"
            )
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, len(SHAPES), figsize=(15, 3.2), sharey=True)
    for axis, (length, batch_size) in zip(axes, SHAPES, strict=True):
        chosen = [row for row in rows if (row["context_length"], row["batch_size"]) == (length, batch_size)]
        names = [row["reader"] for row in chosen]
        colours = ["#b3352c" if name.startswith("vermeil") else "#9a9a9a" for name in names]
        bars = axis.barh(names, [row["per_cpu_second"]["median"] for row in chosen], color=colours)
        axis.bar_label(bars, [f"{row['per_cpu_second']['median']:,.0f}" for row in chosen], padding=3, size=8)
        axis.set_xscale("log")
        axis.set_xlim(1e3, 2e8)
        axis.axvline(1e6, color="black", linewidth=0.8, linestyle=":")
        axis.set_title(f"{length} tokens × {batch_size}", size=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.supxlabel("samples per CPU second (dotted: 1 million)", size=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    packages = ("numpy", "pyarrow", "torch", "tokenizers", "datasets")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch_threads": torch.get_num_threads(),
        **{package: version(package) for package in packages},
    }


def main() -> None:
    datasets.disable_progress_bars()
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder))
    RESULTS.mkdir(exist_ok=True)
    report = {"machine": before, "rounds": ROUNDS, "seconds_a_round": SECONDS, "rows": rows}
    (RESULTS / "loading.json").write_text(json.dumps(report, indent=2) + "\n")
    plot(rows, RESULTS / "loading.png")


if __name__ == "__main__":
    main()
