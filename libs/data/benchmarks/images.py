"""Pictures per CPU second: decoded from a raw dataset with their captions, and read from encoded pixels.

    python libs/data/benchmarks/images.py        # about two minutes; needs vermeil-data[bench,loading]

Decoded: PNG files with a caption each become uint8 pixels and text, one after the other, in one thread.
Beside it Pillow alone, which is given the files in a list, and Hugging Face datasets on the same files.
Encoded: batches of 256 as uint8 tensors in random order. All take turns in one process; figures are
medians over the rounds, per second of CPU time and of wall time, for machines on which others work too.
"""

import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import matplotlib as mpl
import numpy as np
import torch
from PIL import Image
from vermeil_data import (
    EncodedImages,
    ImageEncoding,
    ImageLoader,
    Sample,
    decoded_pictures,
    encode_images,
    open_dataset,
    write_dataset,
)
from vermeil_data.split import TRAIN
from vermeil_media import encode_png, resize_image

RESULTS = Path(__file__).parent / "results"
SHAPES = ((28, 1), (32, 3), (64, 3))
"""(side, channels); 28 × 28 grey is the MNIST family."""
NUM_IMAGES = 4000
BATCH = 256
ROUNDS = 7
SECONDS = 0.5
BARS = {"decoded": 23_000, "encoded": 1_000_000}
Reader = Iterator[int]
"""Yields how many pictures were read since the last time."""


def drawings(side: int, channels: int) -> list[bytes]:
    """PNG files of smooth blobs on an even ground, about as hard to unpack as MNIST's."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(NUM_IMAGES):
        coarse = random.integers(0, 255, (6, 6, channels), np.uint8)
        picture = np.zeros((side, side, channels), np.uint8)
        middle = slice(side // 8, side - side // 8)
        size = len(range(side)[middle])
        picture[middle, middle] = resize_image(coarse, size, size, "stretch")
        files.append(encode_png(picture))
    return files


def in_rounds(read: Callable[[], Iterator[object]], step: int = 64) -> Reader:
    """Read again and again from the beginning."""
    while True:
        found = read()
        while count := len(list(islice(found, step))):
            yield count


def pillow(files: list[bytes], mode: str) -> Reader:
    """The least that can be done: files in a list, pixels as an array."""

    def read() -> Iterator[object]:
        for file in files:
            yield np.asarray(Image.open(io.BytesIO(file)).convert(mode))

    return in_rounds(read)


def hugging_face(files: list[bytes], captions: list[str], folder: Path, mode: str) -> Reader:
    """datasets with its Image feature, rows as dictionaries, pixels as an array."""
    features = datasets.Features({"image": datasets.Image(mode=mode), "text": datasets.Value("string")})
    rows = {"image": [{"bytes": file, "path": None} for file in files], "text": captions}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(folder))
    loaded = datasets.load_from_disk(str(folder))

    def read() -> Iterator[object]:
        for row in loaded:
            yield np.asarray(row["image"]), row["text"]

    return in_rounds(read)


def vermeil_decoded(folder: Path, channels: Any) -> Reader:
    split = open_dataset(folder).split(TRAIN)

    def read() -> Iterator[object]:
        for picture in decoded_pictures(split, channels):
            yield picture.pixels_HWC, picture.captions

    return in_rounds(read)


def vermeil_encoded(encoded: EncodedImages) -> Reader:
    for batch in ImageLoader(encoded, TRAIN, BATCH, seed=0):
        yield len(batch.pixels_BCHW)


def memory_map(encoded: EncodedImages) -> Reader:
    """Random rows of the map, a batch at a time."""
    pixels = encoded.pixels(TRAIN)
    random = np.random.default_rng(0)
    while True:
        yield len(torch.from_numpy(pixels[random.integers(0, len(pixels), BATCH)]))


def measure(reader: Reader) -> tuple[float, float]:
    """Pictures per second of wall time and of CPU time."""
    num_read = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < SECONDS:
        num_read += next(reader)
    return num_read / (time.perf_counter() - wall), num_read / (time.process_time() - cpu)


def readers(folder: Path, side: int, channels: int) -> dict[str, Reader]:
    """Everything that is measured on one shape; the kind is the first word of the name."""
    files = drawings(side, channels)
    captions = [f"a picture of number {number}" for number in range(len(files))]
    samples = [
        Sample.of_image(file, "image/png", [caption], id=str(number))
        for number, (file, caption) in enumerate(zip(files, captions, strict=True))
    ]
    write_dataset(folder / "raw", {TRAIN: samples}, "drawings")
    spec = ImageEncoding(side, side, channels)  # type: ignore[arg-type]
    encoded = encode_images(open_dataset(folder / "raw"), spec, folder / "encoded")
    mode = {1: "L", 3: "RGB"}[channels]
    found = {
        "decoded: vermeil": vermeil_decoded(folder / "raw", channels),
        "decoded: Pillow alone": pillow(files, mode),
        "decoded: datasets": hugging_face(files, captions, folder / "rows", mode),
        "encoded: vermeil": vermeil_encoded(encoded),
        "encoded: raw memory map": memory_map(encoded),
    }
    for reader in found.values():
        next(reader)
    return found


def run(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for side, channels in SHAPES:
        opened = readers(folder / f"{side}", side, channels)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in opened}
        for _ in range(ROUNDS):
            for name, reader in opened.items():
                taken[name].append(measure(reader))
        for name, pairs in taken.items():
            wall, cpu = (figures([pair[axis] for pair in pairs]) for axis in (0, 1))
            shape = {"side": side, "channels": channels}
            rows.append({"reader": name, **shape, "per_second": wall, "per_cpu_second": cpu})
            print(
                f"{side} × {side} × {channels} {name:26} {cpu['median']:12,.0f} per CPU second "
                f"({cpu['low']:,.0f} to {cpu['high']:,.0f}), {wall['median']:12,.0f} per second"
            )
    return rows


def figures(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, len(SHAPES), figsize=(13, 2.8), sharey=True)
    for axis, (side, channels) in zip(axes, SHAPES, strict=True):
        chosen = [row for row in rows if (row["side"], row["channels"]) == (side, channels)]
        values = [row["per_cpu_second"]["median"] for row in chosen]
        colours = ["#b3352c" if row["reader"].endswith("vermeil") else "#9a9a9a" for row in chosen]
        bars = axis.barh([row["reader"] for row in chosen], values, color=colours)
        axis.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, size=8)
        axis.set_xscale("log")
        axis.set_xlim(1e3, 1e8)
        for bar in BARS.values() if side == SHAPES[0][0] else ():
            axis.axvline(bar, color="black", linewidth=0.8, linestyle=":")
        axis.set_title(f"{side} × {side} × {channels}", size=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.supxlabel("pictures per CPU second (dotted: 23,000 decoded, 1 million encoded)", size=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    packages = ("numpy", "pyarrow", "pillow", "torch", "datasets")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def main() -> None:
    torch.set_num_threads(1)
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder))
    first = {row["reader"]: row["per_cpu_second"]["median"] for row in rows if row["side"] == SHAPES[0][0]}
    reached = {kind: first[f"{kind}: vermeil"] >= bar for kind, bar in BARS.items()}
    print(f"bars: {reached}")
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": about, "bars": BARS, "reached": reached, "rows": rows}
    (RESULTS / "images.json").write_text(json.dumps(content, indent=2) + "\n")
    plot(rows, RESULTS / "images.png")


if __name__ == "__main__":
    main()
