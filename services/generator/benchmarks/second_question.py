"""What the second question about a picture costs: the first one reads the picture, later ones do not.

A fused model with random weights (6 layers × 384, pictures of 64 × 64 in patches of 4: 256 each) is asked
through its engine, as a server would. Every round shows new pictures and asks two questions about each.
Time to the first token; with nothing kept between answers beside it, turn by turn.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from vermeil_data import TokenizerSpec, train_tokenizer
from vermeil_generator.ask import Ask, Conversation, GivenImage, Sampling, Turn
from vermeil_generator.loaded_fused import LoadedFusedModel, load_fused
from vermeil_generator.settings import GeneratorSettings
from vermeil_media import encode_png
from vermeil_model import ImageConfig, ImageModel, ModelConfig, TextModel, fuse, fused_config, save_checkpoint

RESULTS = Path(__file__).parent / "results"
MODEL = "models/bench/versions/1"
SIDE, PATCH, DEPTH = 64, 4, 6
QUESTIONS = ("What colour is the largest shape?", "And how many shapes are there?")
KEPT = {"kept": 2**28, "nothing kept": 0}


class Answered(NamedTuple):
    """One question."""

    seconds: float
    """To the first token."""
    cpu_seconds: float
    """Of all threads, until then: on a busy machine the truer figure."""
    cached: int
    """Tokens and patches of the prompt that were not read."""
    whole: int
    """All of them."""


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--pictures", type=int, default=1, help="in each message")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder))
        settings = {
            name: GeneratorSettings.model_construct(generator_kept_bytes=kept) for name, kept in KEPT.items()
        }
        models = {name: load_fused(MODEL, Path(folder), each) for name, each in settings.items()}
        found = asyncio.run(_measured(models, chosen.rounds, chosen.pictures))
        for model in models.values():
            model.close()
    _report(found, chosen.pictures)


def _write_model(folder: Path) -> None:
    tokenizer = train_tokenizer(["x"], TokenizerSpec("byte"))
    tokenizer.save(folder)
    text = TextModel(ModelConfig.from_depth(DEPTH, tokenizer.vocab_size, context_length=512))
    image = ImageModel(
        ImageConfig.from_depth(DEPTH, image_height=SIDE, image_width=SIDE, channels=3, patch_size=PATCH)
    )
    for tower in (text, image):
        tower.init_weights(torch.Generator().manual_seed(0))
    save_checkpoint(folder, fuse(text, image, fused_config(text, image)))


async def _measured(
    models: dict[str, LoadedFusedModel], rounds: int, num_pictures: int
) -> dict[str, list[list[Answered]]]:
    draw = np.random.default_rng(0)
    found: dict[str, list[list[Answered]]] = {name: [[] for _ in QUESTIONS] for name in models}
    for number in range(rounds + 1):
        files = [encode_png(draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)) for _ in range(num_pictures)]
        for name, model in models.items():
            for place, question in enumerate(QUESTIONS):
                answered = await _ask(model, files, question)
                if number:  # the first warms up
                    found[name][place].append(answered)
    return found


async def _ask(model: LoadedFusedModel, files: list[bytes], question: str) -> Answered:
    shown = [GivenImage("picture", lambda file=file: file) for file in files]  # type: ignore[misc]
    turns = (Turn("user", (*shown, question)),)
    began, cpu_began = time.perf_counter(), time.process_time()
    prepared = model.prepare(Ask(MODEL, Conversation(turns), Sampling(temperature=0, max_tokens=1)))
    pieces = [piece async for piece in model.answer(prepared)]
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Answered(seconds, cpu_seconds, pieces[-1].num_cached, prepared.prompt.num_tokens)


def _report(found: dict[str, list[list[Answered]]], num_pictures: int) -> None:
    table = {}
    for name, questions in found.items():
        for place, answers in enumerate(questions):
            about = f"question {place + 1}, {name}"
            table[about] = {
                "milliseconds": _milliseconds([answered.seconds for answered in answers]),
                "CPU milliseconds": _milliseconds([answered.cpu_seconds for answered in answers]),
                "tokens and patches of the prompt": answers[0].whole,
                "not read again": answers[0].cached,
            }
            print(about, json.dumps(table[about]))
    RESULTS.mkdir(exist_ok=True)
    parameters = f"{DEPTH} layers, pictures of {SIDE} × {SIDE} in {(SIDE // PATCH) ** 2} patches"
    written = {
        "model": parameters,
        "pictures in a message": num_pictures,
        "rounds": len(found["kept"][0]),
        "time to the first token": table,
        "machine": {
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "threads": torch.get_num_threads(),
        },
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }
    path = RESULTS / f"second-question-{num_pictures}.json"
    path.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    found = {"median": statistics.median(seconds), "lowest": min(seconds), "highest": max(seconds)}
    return {name: round(value * 1e3, 1) for name, value in found.items()}


if __name__ == "__main__":
    main()
