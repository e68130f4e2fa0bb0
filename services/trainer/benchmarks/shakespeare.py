"""Tiny Shakespeare within nanoGPT's CPU budget: its configuration, and the best recipe we know.

Both recipes are the shipped ones and run as `python -m vermeil_trainer` would. The split is nanoGPT's:
the first 90 % of the characters train. Losses are over the whole validation text, in windows of 64
characters for both; the budget is the processor time of nanoGPT's configuration in the same run.

    VERMEIL_DATA_DIR=… python services/trainer/benchmarks/shakespeare.py [--nanogpt DIR]
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from vermeil_data import (
    EncodedDataset,
    Loader,
    Sample,
    TokenizerSpec,
    encode_dataset,
    fit_tokenizer,
    open_dataset,
    write_dataset,
)
from vermeil_model import TextModel, load_checkpoint
from vermeil_trainer.reading import read_recipe, recipe_from_dict
from vermeil_trainer.train import train
from vermeil_training import RunConfig, TrainingConfig, evaluate_loss, make_state, read_metrics

RESULTS = Path(__file__).with_name("results")
RECIPES = Path(__file__).parents[1] / "vermeil_trainer" / "recipes"
REFERENCE, BEST = "shakespeare-nanogpt", "shakespeare-best"
GOAL, CONTEXT = 1.88, 64
Curve = list[dict[str, float]]


def encode(text: str, folder: Path) -> EncodedDataset:
    """nanoGPT's split, one token a character."""
    cut = int(len(text) * 0.9)
    splits = {"train": text[:cut], "validation": text[cut:]}
    samples = {name: [Sample.of_text(part, id=name)] for name, part in splits.items()}
    write_dataset(folder / "raw", samples, "shakespeare")
    raw = open_dataset(folder / "raw")
    return encode_dataset(raw, fit_tokenizer(raw, TokenizerSpec("character")), folder / "encoded")


def whole_validation_loss(model: TextModel, encoded: EncodedDataset, context: int) -> float:
    """Every character of the validation text is a target once."""
    rows = max(1, 4096 // context)
    batches = Loader(encoded, "validation", context, rows, 0, mode="packed")
    state = make_state(TrainingConfig(run=RunConfig(precision="fp32")), model)
    return evaluate_loss(state, batches, batches.batches_per_epoch).loss


def vermeil(name: str, encoded: EncodedDataset, folder: Path) -> dict[str, Any]:
    """One shipped recipe from first to last."""
    recipe = recipe_from_dict(read_recipe(RECIPES / f"{name}.yaml"))
    trained = train(recipe, encoded, folder / name)
    model = load_checkpoint(trained.model, dtype=torch.float32)
    curve = read_metrics(folder / name)
    times = {line["step"]: line["cpu_seconds"] for line in curve if "cpu_seconds" in line}
    return {
        "parameters": trained.parameters,
        "steps": trained.steps,
        "tokens": trained.items,
        "cpu_seconds": times[trained.steps],
        "seconds": trained.seconds,
        "validation_loss": whole_validation_loss(model, encoded, CONTEXT),
        "validation_loss_at_own_context": whole_validation_loss(model, encoded, model.config.context_length),
        "context_length": model.config.context_length,
        "curve": [
            {"cpu_seconds": times[line["step"]], "validation_loss": line["validation_loss"]}
            for line in curve
            if "validation_loss" in line and line["step"] in times
        ],
    }


def nanogpt(folder: Path, encoded: EncodedDataset) -> dict[str, Any]:
    """Its model in its loop, as `train_shakespeare_char.py` sets it for a CPU, on the same windows."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)
    torch.manual_seed(1337)
    sizes = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": CONTEXT, "dropout": 0.0, "bias": False}
    model = module.GPT(module.GPTConfig(vocab_size=encoded.vocab_size, **sizes))
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    loader = Loader(encoded, "train", CONTEXT, 12, 1337)
    steps, warmup, cpu_start, start = 2000, 100, time.process_time(), time.perf_counter()
    for step in range(steps):
        rate = (
            1e-3 * (step + 1) / (warmup + 1)
            if step < warmup
            else 1e-4 + 4.5e-4 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(loader)
        _, loss = model(batch.tokens_BT, batch.targets_BT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    cpu_seconds, seconds = time.process_time() - cpu_start, time.perf_counter() - start
    validation = Loader(encoded, "validation", CONTEXT, 64, 0, mode="packed")
    total = counted = 0.0
    with torch.no_grad():
        for _ in range(validation.batches_per_epoch):
            batch = next(validation)
            logits, _ = model(batch.tokens_BT, batch.targets_BT.clamp_min(-1))  # −1 is what it ignores
            total += float(
                torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), batch.targets_BT.flatten(), ignore_index=-100, reduction="sum"
                )
            )
            counted += float((batch.targets_BT != -100).sum())
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "steps": steps,
        "tokens": steps * 12 * CONTEXT,
        "cpu_seconds": cpu_seconds,
        "seconds": seconds,
        "validation_loss": total / counted,
        "validation_loss_at_own_context": total / counted,
        "context_length": CONTEXT,
        "curve": [],
    }


def machine() -> dict[str, object]:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def draw(runs: dict[str, dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="processor seconds", ylabel="validation loss (nats per character)")
    for number, (name, result) in enumerate(runs.items()):
        curve: Curve = result["curve"]
        color = f"C{number}"
        if curve:
            xs, ys = zip(*((point["cpu_seconds"], point["validation_loss"]) for point in curve), strict=True)
            axes.plot(xs, ys, marker="o", markersize=3, color=color)
        label = f"{name}: {result['validation_loss']:.3f} in {result['cpu_seconds']:.0f} s"
        axes.plot(
            result["cpu_seconds"], result["validation_loss"], "*", markersize=13, color=color, label=label
        )
    axes.axhline(GOAL, color="#888888", linewidth=1, linestyle="--")
    axes.set_title("Tiny Shakespeare; ★ whole validation text in windows of 64 characters", fontsize=10)
    axes.set_ylim(top=2.6)
    axes.grid(alpha=0.3)
    axes.legend()
    FigureCanvasAgg(figure).print_png(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, help="folder that holds nanoGPT's model.py: run it too")
    parser.add_argument("--threads", type=int, default=1, help="one thread measures processor time best")
    options = parser.parse_args()
    data = os.environ.get("VERMEIL_DATA_DIR")
    if not data:
        sys.exit("VERMEIL_DATA_DIR does not name a folder of real data")
    # nanoGPT's own code warns.
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = (Path(data) / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
        encoded = encode(text, folder)
        runs = {name: vermeil(name, encoded, folder) for name in (REFERENCE, BEST)}
        if options.nanogpt:
            runs["nanoGPT itself"] = nanogpt(options.nanogpt, encoded)
    for name, run in runs.items():
        print(
            f"{name:22} {run['parameters']:>9,} parameters {run['tokens']:>10,} tokens "
            f"{run['cpu_seconds']:7.1f} CPU-s {run['seconds']:7.1f} s  loss {run['validation_loss']:.4f} "
            f"(context {run['context_length']}: {run['validation_loss_at_own_context']:.4f})"
        )
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": machine(), "goal": GOAL, "runs": runs}
    (RESULTS / "shakespeare.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(runs, RESULTS / "shakespeare.png")


if __name__ == "__main__":
    main()
