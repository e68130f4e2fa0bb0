"""Training a GPT of 10.7 M parameters: Vermeil beside nanoGPT and the Hugging Face Trainer.

All take turns in one run, built anew each time: one first step, one to warm up, then timed steps.
Speed is given per processor second as well as per second, because others may use the machine; the
matrix-product rate it is compared with is measured between the turns.

    python libs/training/benchmarks/train_gpt.py --nanogpt DIR    # DIR holds nanoGPT's model.py
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn
from vermeil_data.loader import Batch, LoaderState
from vermeil_model import ModelConfig, TextModel
from vermeil_training import OptimizerConfig, RunConfig, TrainingConfig, make_state, train_step

RESULTS = Path(__file__).with_name("results")
LAYERS, WIDTH, HEADS, CONTEXT, BATCH, VOCABULARY = 6, 384, 6, 256, 12, 256
TOKENS = BATCH * CONTEXT
LEARNING_RATE, BETAS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.99), 0.1, 1.0
WARM = 1


class Stamp(NamedTuple):
    """A moment."""

    wall: float
    cpu: float


def now() -> Stamp:
    return Stamp(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Turn:
    """One turn of one contestant."""

    first_step: float
    """Seconds of processor time from nothing to the end of the first step."""
    tokens_per_second: float
    tokens_per_cpu_second: float


Contestant = Callable[[int], list[Stamp]]
"""Builds itself, does so many steps; the moment before it began and after every step."""


class SameBatches:
    """Random tokens that are ready in memory: loading is measured elsewhere."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        draw = [torch.randint(VOCABULARY, (BATCH, CONTEXT + 1), generator=generator) for _ in range(8)]
        self.batches = [Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), None) for rows in draw]
        self._at = 0

    def __next__(self) -> Batch:
        self._at += 1
        return self.batches[self._at % len(self.batches)]

    def state(self) -> LoaderState:
        return LoaderState(self._at, "train", "random", 0, CONTEXT, 0)

    def restore(self, state: LoaderState, /) -> None:
        self._at = state.position


def vermeil(kind: str = "adamw", *, compiled: bool = False) -> Contestant:
    def run(steps: int) -> list[Stamp]:
        stamps = [now()]
        model = TextModel(vermeil_config())
        config = TrainingConfig(
            OptimizerConfig(kind, LEARNING_RATE, 0.02, WEIGHT_DECAY, *BETAS, CLIP),
            run=RunConfig(steps=1000, compile=compiled),
        )
        state, loader = make_state(config, model), SameBatches()
        for _ in range(steps):
            float(train_step(state, loader).loss)
            stamps.append(now())
        return stamps

    return run


def vermeil_config() -> ModelConfig:
    return ModelConfig.from_depth(LAYERS, VOCABULARY, context_length=CONTEXT)


def loop(
    make: Callable[[], tuple[nn.Module, torch.optim.Optimizer]],
    loss_of: Callable[[nn.Module, Batch], Tensor],
    *,
    autocast: bool = True,
) -> Contestant:
    """nanoGPT's loop."""

    def run(steps: int) -> list[Stamp]:
        stamps = [now()]
        model, optimizer = make()
        batches = SameBatches()
        for _ in range(steps):
            batch = next(batches)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = loss_of(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            float(loss)
            stamps.append(now())
        return stamps

    return run


def nanogpt(folder: Path, *, fused: bool, pure: bool) -> Contestant:
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)

    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        sizes = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH}
        model = module.GPT(
            module.GPTConfig(block_size=CONTEXT, vocab_size=VOCABULARY, dropout=0.0, bias=False, **sizes)
        )
        if pure:
            model = model.bfloat16()
        optimizer = model.configure_optimizers(WEIGHT_DECAY, LEARNING_RATE, BETAS, "cpu")
        if fused:
            optimizer = torch.optim.AdamW(optimizer.param_groups, LEARNING_RATE, BETAS, fused=True)
        return model, optimizer

    return loop(make, lambda model, batch: model(batch[0], batch[1])[1], autocast=not pure)


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=1024,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            use_cache=False,
        )
    )


def llama_in_a_bare_loop() -> Contestant:
    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = llama()
        return model, torch.optim.AdamW(
            model.parameters(), LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY, fused=True
        )

    def loss_of(model: nn.Module, batch: Batch) -> Tensor:
        # The model shifts labels itself.
        loss: Tensor = model(input_ids=batch.tokens_BT, labels=batch.tokens_BT).loss
        return loss

    return loop(make, loss_of)


def hugging_face_trainer(steps: int) -> list[Stamp]:
    stamps = [now()]
    from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: PLC0415

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_arguments: object, **_options: object) -> None:
            stamps.append(now())

    rows = [
        {"input_ids": row, "labels": row} for batch in SameBatches().batches for row in batch.tokens_BT
    ] * 4
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=True,
            optim="adamw_torch_fused",
            learning_rate=LEARNING_RATE,
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            weight_decay=WEIGHT_DECAY,
            max_grad_norm=CLIP,
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
        )
        Trainer(llama(), arguments, train_dataset=rows, callbacks=[Watch()]).train()
    return stamps


def contestants(options: argparse.Namespace) -> dict[str, Contestant]:
    chosen: dict[str, Contestant] = {"Vermeil": vermeil(), "Vermeil, Muon": vermeil("muon")}
    if options.compile:
        chosen["Vermeil, compiled"] = vermeil(compiled=True)
    if options.nanogpt:
        chosen["nanoGPT"] = nanogpt(options.nanogpt, fused=False, pure=False)
        chosen["nanoGPT, pure bf16, fused AdamW"] = nanogpt(options.nanogpt, fused=True, pure=True)
    chosen["Llama, bare loop"] = llama_in_a_bare_loop()
    chosen["HF Trainer"] = hugging_face_trainer
    return chosen


def turn(contestant: Contestant, steps: int) -> Turn:
    start, first, *later = contestant(1 + WARM + steps)
    begin, end = later[WARM - 1], later[-1]
    tokens = steps * TOKENS
    return Turn(first.cpu - start.cpu, tokens / (end.wall - begin.wall), tokens / (end.cpu - begin.cpu))


def gemm_rate(side: int = 2048) -> tuple[float, float]:
    """bf16 operations per second and per processor second in a square matrix product."""
    matrix = torch.full((side, side), 0.5, dtype=torch.bfloat16)
    matrix @ matrix
    start = now()
    for _ in range(5):
        matrix @ matrix
    end = now()
    work = 5 * 2 * side**3
    return work / (end.wall - start.wall), work / (end.cpu - start.cpu)


def operations_per_token() -> float:
    """As nanoGPT counts: 6 a parameter, and attention without regard to its being causal."""
    parameters = sum(weight.numel() for weight in TextModel(vermeil_config()).parameters())
    return 6.0 * parameters + 12.0 * LAYERS * WIDTH * CONTEXT


def measure(options: argparse.Namespace) -> dict[str, Any]:
    chosen = contestants(options)
    turns: dict[str, list[Turn]] = {name: [] for name in chosen}
    rates = []
    for repeat in range(options.repeats):
        for name, contestant in chosen.items():
            rates.append(gemm_rate())
            turns[name].append(turn(contestant, options.steps))
            print(f"{repeat + 1}/{options.repeats} {name}: {turns[name][-1]}", flush=True)
    return {
        "machine": machine(),
        "options": {"repeats": options.repeats, "steps": options.steps, "threads": options.threads},
        "gemm_flops_per_cpu_second": statistics.median(cpu for _, cpu in rates),
        "gemm_flops_per_second": statistics.median(wall for wall, _ in rates),
        "operations_per_token": operations_per_token(),
        "turns": {name: [asdict(each) for each in of_name] for name, of_name in turns.items()},
    }


def machine() -> dict[str, object]:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "accelerate")},
    }


def table(result: dict[str, Any]) -> list[dict[str, float | str]]:
    """Medians, ranges and Vermeil's factor over each, turn by turn."""
    turns, rows = result["turns"], []
    ours = [each["tokens_per_cpu_second"] for each in turns["Vermeil"]]
    for name, of_name in turns.items():
        rates = [each["tokens_per_cpu_second"] for each in of_name]
        factors = [mine / theirs for mine, theirs in zip(ours, rates, strict=True)]
        rows.append(
            {
                "name": name,
                "tokens_per_cpu_second": statistics.median(rates),
                "low": min(rates),
                "high": max(rates),
                "tokens_per_second": statistics.median(each["tokens_per_second"] for each in of_name),
                "part_of_gemm": statistics.median(rates)
                * result["operations_per_token"]
                / result["gemm_flops_per_cpu_second"],
                "vermeil_over_it": statistics.median(factors),
                "vermeil_over_it_low": min(factors),
                "vermeil_over_it_high": max(factors),
                "first_step_cpu_seconds": statistics.median(each["first_step"] for each in of_name),
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print(
        f"{'':34}{'tok/CPU-s':>10}{'range':>14}{'tok/s':>8}{'of GEMM':>9}{'Vermeil ×':>20}{'first step':>12}"
    )
    for row in rows:
        span = f"{row['low']:.0f}–{row['high']:.0f}"
        reach = f"({row['vermeil_over_it_low']:.2f}–{row['vermeil_over_it_high']:.2f})"
        factor = f"{row['vermeil_over_it']:.2f} {reach}"
        print(
            f"{row['name']:34}{row['tokens_per_cpu_second']:10.0f}{span:>14}{row['tokens_per_second']:8.0f}"
            f"{row['part_of_gemm']:9.2f}{factor:>20}{row['first_step_cpu_seconds']:10.1f} s"
        )


def draw(rows: list[dict[str, Any]], result: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(9, 0.7 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel="tokens per processor second (median and range)")
    for place, row in enumerate(reversed(rows)):
        value = row["tokens_per_cpu_second"]
        reach = [[value - row["low"]], [row["high"] - value]]
        axes.barh(
            place, value, xerr=reach, color="#b22222" if row["name"].startswith("Vermeil") else "#888888"
        )
        axes.text(
            value * 0.02, place, f"{row['part_of_gemm']:.2f} of GEMM", va="center", color="white", fontsize=8
        )
    axes.set_yticks(range(len(rows)), [row["name"] for row in reversed(rows)])
    axes.set_title(
        f"10.7 M GPT, {BATCH} × {CONTEXT} tokens a step, bf16; {result['machine']['processor']}, "
        f"{result['options']['threads']} thread(s), torch {result['machine']['torch']}",
        fontsize=9,
    )
    FigureCanvasAgg(figure).print_png(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, help="folder that holds nanoGPT's model.py")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed steps a turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="also compiled; costs minutes")
    options = parser.parse_args()
    # Peers warn about themselves.
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    result = measure(options)
    rows = result["table"] = table(result)
    show(rows)
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / f"train_gpt_{options.threads}_threads"
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, result, stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
