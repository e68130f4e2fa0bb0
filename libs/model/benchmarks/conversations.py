"""Conversations of a fused model together beside one after the other, same weights, one run.

    python benchmarks/conversations.py --out benchmarks/results/conversations

A model with random weights joined by cross-attention (6 layers × 384 each, pictures of 32 × 32 in 64 patches)
answers several people, every other one about a picture of their own, greedily. Together: `Conversations`.
One by one: each a `Conversation`, a token each in turn, as they were served before. Reading prompts counts.
Then the same for pictures that are drawn at once. CPU seconds stand beside wall time for machines that are
not quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from vermeil_model import (
    Conversation,
    Conversations,
    DrawingParameters,
    Easel,
    FusedModel,
    ImageConfig,
    ImageModel,
    Markers,
    ModelConfig,
    Request,
    SamplingParameters,
    TextModel,
    from_pixels,
    fuse,
    fused_config,
)
from vermeil_model.image_sampling import steps_in_context

VOCABULARY = 4096
MARKERS = Markers(VOCABULARY - 2, VOCABULARY - 1)
SIDE = 32
WORDS = 12
"""Tokens of a question."""


class Spent(NamedTuple):
    """Of one way, once."""

    seconds: float
    cpu_seconds: float


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--fusion", default="cross_attention")
    arguments.add_argument("--together", type=int, nargs="+", default=[1, 8, 32])
    arguments.add_argument("--tokens", type=int, default=32, help="of each answer")
    arguments.add_argument("--steps", type=int, default=8, help="of each picture")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    out = Path(__file__).parent / "results" / "conversations"
    arguments.add_argument("--out", type=Path, default=out)
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    load_before = os.getloadavg()[0]
    model = make_model(chosen.fusion)
    rows = [row for number in chosen.together for row in measured(model, number, chosen)]
    report = {
        "what": f"{chosen.fusion}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters",
        "answers": f"{WORDS} tokens asked, {chosen.tokens} answered; every other about 64 patches",
        "pictures": f"{SIDE} × {SIDE}, {chosen.steps} steps, guided",
        "repeats": chosen.repeats,
        "rows": rows,
        "machine": {
            "cores": os.cpu_count(),
            "threads": chosen.threads,
            "load before": load_before,
            "load after": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.with_suffix(".json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def make_model(fusion: str) -> FusedModel:
    """Weights of one seed."""
    text = TextModel(ModelConfig.from_depth(6, VOCABULARY, context_length=512))
    image = ImageModel(
        ImageConfig.from_depth(6, image_height=SIDE, image_width=SIDE, channels=3, patch_size=4)
    )
    return fuse(text, image, fused_config(text, image, fusion)).eval()


def measured(model: FusedModel, number: int, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Both ways in turn, for answers and for pictures."""
    form, painter = model.writer(), model.painter()
    requests = [request_of(each, chosen.tokens) for each in range(number)]
    drawing = DrawingParameters(steps=chosen.steps)
    answers = {
        "together": lambda: write_together(Conversations(model, MARKERS, form=form), requests),
        "one by one": lambda: write_in_turn(model, requests),
    }
    pictures = {
        "together": lambda: draw_together(model, Easel(painter, torch.device("cpu")), number, drawing),
        "one by one": lambda: draw_in_turn(model, painter, number, drawing),
    }
    return [
        row_of("tokens", number, number * chosen.tokens, answers, chosen.repeats),
        row_of("pictures", number, number, pictures, chosen.repeats),
    ]


def row_of(
    what: str, number: int, num_made: int, ways: dict[str, Callable[[], object]], repeats: int
) -> dict[str, Any]:
    """Made a second, the medians, and how many times as much together."""
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            way()
            spent[name].append(Spent(time.perf_counter() - began, time.process_time() - cpu_began))
    together, alone = spent.values()
    ratios = [b.seconds / a.seconds for a, b in zip(together, alone, strict=True)]
    cpu_ratios = [b.cpu_seconds / a.cpu_seconds for a, b in zip(together, alone, strict=True)]
    row = {
        "at once": number,
        f"{what} per second": {
            name: num_made / statistics.median(s.seconds for s in of) for name, of in spent.items()
        },
        f"{what} per CPU second": {
            name: num_made / statistics.median(s.cpu_seconds for s in of) for name, of in spent.items()
        },
        "ratio": statistics.median(ratios),
        "CPU ratio": statistics.median(cpu_ratios),
    }
    print(json.dumps(row), flush=True)
    return row


def request_of(number: int, num_tokens: int) -> Request:
    """A question, every other one about a picture."""
    generator = torch.Generator().manual_seed(number)
    words = torch.randint(2, VOCABULARY - 2, (WORDS,), generator=generator).tolist()
    parameters = SamplingParameters(
        temperature=0, max_tokens=num_tokens, logit_bias={MARKERS.begin: -1e9, MARKERS.end: -1e9}
    )
    if number % 2:
        return Request([1, *words], parameters)
    picture = torch.randint(0, 256, (3, SIDE, SIDE), generator=generator).to(torch.uint8)
    return Request([1, *MARKERS, *words], parameters, [picture])


def write_together(talks: Conversations, requests: list[Request]) -> list[list[int]]:
    """The answers of all, by the numbers they were given."""
    said: dict[int, list[int]] = {number: [] for number in talks.add(requests)}
    while talks.sequences:
        for event in talks.step():
            said[event.sequence].append(event.token)  # type: ignore[union-attr]  # nothing is drawn
    return list(said.values())


@torch.inference_mode()
def write_in_turn(model: FusedModel, requests: list[Request]) -> list[list[int]]:
    """A token each, again and again."""
    answers, said = [], []
    for request in requests:
        conversation = Conversation(model, MARKERS)
        start = 1
        conversation.read_tokens([1])
        if request.pictures:
            conversation.read_picture(from_pixels(request.pictures[0][None])[0])
            start = 3
        conversation.read_tokens(request.prompt[start:])
        answers.append(conversation.reply(request.parameters))
        said.append([])
    for _ in range(requests[0].parameters.max_tokens):
        for events, tokens in zip(answers, said, strict=True):
            tokens.append(next(events).token)
    return said


@torch.inference_mode()
def draw_together(model: FusedModel, easel: Easel, number: int, drawing: DrawingParameters) -> None:
    """On one easel."""
    on_easel = [easel.add(context_of(model, seed), seed, drawing) for seed in range(number)]
    while not all(each.is_done for each in on_easel):
        easel.move()


@torch.inference_mode()
def draw_in_turn(model: FusedModel, painter: Any, number: int, drawing: DrawingParameters) -> None:
    """A step each, again and again."""
    contexts = [context_of(model, seed) for seed in range(number)]
    drawn = [
        steps_in_context(painter, each, seeds=[seed], steps=drawing.steps, guidance=drawing.guidance)
        for seed, each in enumerate(contexts)
    ]
    for _ in range(drawing.steps):
        for steps in drawn:
            next(steps)


def context_of(model: FusedModel, number: int) -> Any:
    """A caption, read."""
    memory = model.begin(1)
    model.read_on(memory, torch.tensor([[*request_of(2 * number + 1, 1).prompt, MARKERS.begin]]))
    return model.context(memory)


if __name__ == "__main__":
    main()
