"""The image tower beside diffusers' DiT of the same width, depth and heads: one run, interleaved.

    python benchmarks/images.py --out benchmarks/results/images

Pictures are 3×32×32 in patches of 4, of one of ten classes. Training is a whole step (noise, loss, backward,
fused AdamW), sampling a whole call of 20 or 4 Euler steps, without guidance, with it at every step, and as
each does it by default (ours leaves the first steps unguided, which makes better pictures too). Writes
images.json and images.png and prints a table. CPU seconds stand beside wall time for machines that are not
quiet.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import matplotlib as mpl
import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn
from vermeil_model import Conditions, ImageConfig, ImageModel, PackedImageModel, flow_loss, sample_images
from vermeil_model.image_sampling import GUIDANCE_FROM

mpl.use("Agg")
from matplotlib import pyplot

NUM_CLASSES = 10
SHAPE = (3, 32, 32)
PATCH_SIZE = 4
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GUIDANCE = 2.0
GUIDED = (
    ("", 1.0, 0.0),
    (", guided", GUIDANCE, 0.0),
    (", guided as each is by default", GUIDANCE, GUIDANCE_FROM),
)
"""What of guidance, and from which time on ours works; the peer's works always."""
PEERS = ("vermeil", "diffusers")
Runs = dict[str, Callable[[], object]]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    load_before = os.getloadavg()
    ours, theirs = make_models(arguments)
    rows = []
    for dtype in arguments.dtypes:
        rows += measure_dtype(ours, theirs, dtype, arguments)
    report = {
        "what": f"pictures of {'×'.join(map(str, SHAPE))}, patch {PATCH_SIZE}, "
        f"{arguments.depth} layers of {arguments.width}, {arguments.heads} heads",
        "parameters": {"vermeil": count(ours), "diffusers": count(theirs)},
        "machine": machine()
        | {"threads": arguments.threads, "load_before": load_before, "load_after": os.getloadavg()},
        "batch": {"training": arguments.training_batch, "sampling": arguments.sampling_batch},
        "repeats": arguments.repeats,
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    draw(report, arguments.out.with_suffix(".png"))
    print_table(report)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--training-batch", type=int, default=32)
    parser.add_argument("--sampling-batch", type=int, default=16)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 4])
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    return parser.parse_args()


def make_models(arguments: argparse.Namespace) -> tuple[ImageModel, DiTTransformer2DModel]:
    """Both modulate every layer by time and class (AdaLN)."""
    config = ImageConfig.from_depth(
        arguments.depth,
        image_height=SHAPE[1],
        image_width=SHAPE[2],
        channels=SHAPE[0],
        patch_size=PATCH_SIZE,
        condition="class",
        num_classes=NUM_CLASSES,
        adaln=True,
        width=arguments.width,
        num_heads=arguments.heads,
    )
    theirs = DiTTransformer2DModel(
        num_attention_heads=arguments.heads,
        attention_head_dim=arguments.width // arguments.heads,
        in_channels=SHAPE[0],
        num_layers=arguments.depth,
        sample_size=SHAPE[1],
        patch_size=PATCH_SIZE,
        num_embeds_ada_norm=NUM_CLASSES,
    )
    return ImageModel(config), theirs


def measure_dtype(
    ours: ImageModel, theirs: DiTTransformer2DModel, dtype: str, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Training and all ways of sampling in one precision."""
    batch = arguments.training_batch
    rows = [
        {"what": "training", "dtype": dtype}
        | measure(training_runs(copy.deepcopy(ours), copy.deepcopy(theirs), dtype, batch), batch, arguments)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed = PackedImageModel(copy.deepcopy(ours).to(DTYPES[dtype]))
        frozen = copy.deepcopy(theirs).to(DTYPES[dtype]).eval()
    batch = arguments.sampling_batch
    for steps in arguments.steps:
        for name, guidance, guidance_from in GUIDED:
            runs = sampling_runs(packed, frozen, batch, steps, guidance, guidance_from)
            rows.append({"what": f"{steps} steps{name}", "dtype": dtype} | measure(runs, batch, arguments))
    return rows


def training_runs(ours: ImageModel, theirs: DiTTransformer2DModel, dtype: str, batch: int) -> Runs:
    """One optimizer step each."""
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.randn(batch, *SHAPE, generator=generator)
    classes_B = torch.randint(NUM_CLASSES, (batch,), generator=generator)

    def our_loss() -> Tensor:
        return flow_loss(ours, images_BCHW, Conditions(classes_B=classes_B), generator)

    def their_loss() -> Tensor:
        times_B = torch.rand(batch, generator=generator)
        noise_BCHW = torch.randn(images_BCHW.shape, generator=generator)
        noisy_BCHW = torch.lerp(noise_BCHW, images_BCHW, times_B[:, None, None, None])
        moved_BCHW = theirs(noisy_BCHW, timestep=(times_B * 1000).long(), class_labels=classes_B).sample
        return (moved_BCHW.float() - (images_BCHW - noise_BCHW)).square().mean()

    return {
        "vermeil": training_run(ours.train(), our_loss, dtype),
        "diffusers": training_run(theirs.train(), their_loss, dtype),
    }


def training_run(model: nn.Module, loss: Callable[[], Tensor], dtype: str) -> Callable[[], object]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            total = loss()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return run


def sampling_runs(
    ours: PackedImageModel,
    theirs: DiTTransformer2DModel,
    batch: int,
    steps: int,
    guidance: float,
    guidance_from: float,
) -> Runs:
    """The same Euler steps; theirs as a bare loop, which is quicker than its pipeline."""
    classes = [row % NUM_CLASSES for row in range(batch)]
    seeds = list(range(batch))

    @torch.inference_mode()
    def draw_theirs() -> Tensor:
        dtype = theirs.dtype
        x_BCHW = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))
        labels_B = torch.tensor(classes)
        if guidance != 1:
            labels_B = torch.cat((labels_B, torch.full((batch,), NUM_CLASSES)))
        for step in range(steps):
            given = x_BCHW if guidance == 1 else torch.cat((x_BCHW, x_BCHW))
            times_B = torch.full((len(given),), 1000 * step // steps)
            slope = theirs(given.to(dtype), timestep=times_B, class_labels=labels_B).sample.float()
            if guidance != 1:
                with_class, without = slope.chunk(2)
                slope = without + guidance * (with_class - without)
            x_BCHW = x_BCHW + slope / steps
        return x_BCHW

    return {
        "vermeil": lambda: sample_images(
            ours,
            Conditions.of_classes(classes),
            seeds=seeds,
            steps=steps,
            guidance=guidance,
            guidance_from=guidance_from,
        ),
        "diffusers": draw_theirs,
    }


def measure(runs: Runs, batch: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """All in turn, `repeats` times after one warm-up each."""
    for run in runs.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.process_time() - cpu_start)
    return {
        "images_per_second": {name: spread([batch / t for t in times]) for name, times in wall.items()},
        "cpu_seconds": {name: spread(times) for name, times in cpu.items()},
        "ratio": ratio(wall),
        "cpu_ratio": ratio(cpu),
    }


def ratio(times: dict[str, list[float]]) -> dict[str, float]:
    ours, theirs = (times[name] for name in PEERS)
    return spread([b / a for a, b in zip(ours, theirs, strict=True)])


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def machine() -> dict[str, Any]:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "processor": models[0].split(":")[1].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def draw(report: dict[str, Any], path: Path) -> None:
    dtypes = list(dict.fromkeys(row["dtype"] for row in report["rows"]))
    figure, axes = pyplot.subplots(1, len(dtypes), figsize=(5.5 * len(dtypes), 4), sharey=True, squeeze=False)
    for axis, dtype in zip(axes[0], dtypes, strict=True):
        rows = [row for row in report["rows"] if row["dtype"] == dtype]
        for number, name in enumerate(PEERS):
            speeds = [row["images_per_second"][name] for row in rows]
            medians = [speed["median"] for speed in speeds]
            ranges = [
                [speed["median"] - speed["low"] for speed in speeds],
                [speed["high"] - speed["median"] for speed in speeds],
            ]
            places = [place + 0.4 * number for place in range(len(rows))]
            axis.bar(places, medians, width=0.38, yerr=ranges, capsize=2, label=name)
        for place, row in enumerate(rows):
            top = max(speed["high"] for speed in row["images_per_second"].values())
            axis.annotate(f"{row['ratio']['median']:.2f} ×", (place + 0.2, top * 1.05), ha="center")
        names = [row["what"].replace(", ", ",\n") for row in rows]
        axis.set_xticks([place + 0.2 for place in range(len(rows))], names)
        axis.set(yscale="log", title=dtype)
        axis.margins(y=0.15)
        axis.legend()
    axes[0][0].set_ylabel("pictures per second")
    figure.suptitle(report["what"])
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def print_table(report: dict[str, Any]) -> None:
    print(report["what"], report["parameters"], report["machine"], sep="\n")
    print(f"{'dtype':10}{'what':>18}{'vermeil img/s':>22}{'diffusers img/s':>22}{'ratio':>8}{'of CPU':>8}")
    for row in report["rows"]:
        cells = [
            f"{speed['median']:.1f} ({speed['low']:.1f}–{speed['high']:.1f})"
            for speed in (row["images_per_second"][name] for name in PEERS)
        ]
        print(
            f"{row['dtype']:10}{row['what']:>18}{cells[0]:>22}{cells[1]:>22}"
            f"{row['ratio']['median']:>8.2f}{row['cpu_ratio']['median']:>8.2f}"
        )


if __name__ == "__main__":
    main()
