"""A fused model asked many things at once: what it says, what it draws, what texts and pictures cost it.

A prompt is runs of tokens and pictures, in order. Prompts of one order go through together, and what several
of them begin with is read once: ten questions about a picture cost one look at it. How prompts are spelled
is the caller's affair.

Letters: B rows, T tokens, V vocabulary, C channels, H height, W width.
"""
# ruff: noqa: N815

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.conversation import check_tokens, continue_text
from vermeil_model.decoder import FinishReason
from vermeil_model.fused_memory import Memory
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_sampling import (
    GUIDANCE_FROM,
    Denoiser,
    OnStep,
    Solver,
    draw_noise,
    guided_by,
    integrate,
    sample_in_context,
)
from vermeil_model.patches import check_pictures
from vermeil_model.picture_losses import NUM_TIMES, picture_losses
from vermeil_model.sampling import SamplingParameters

Prompt = Sequence[Sequence[int] | Tensor]
"""Runs of tokens, and pictures (C, H, W) of −1 … 1; marks around them are tokens like any other."""
BATCH = 64
"""Prompts read at once, unless told otherwise."""


class Read(NamedTuple):
    """What prompts left behind."""

    memory: Memory
    """A row a prompt."""
    logits_BV: Tensor | None
    """Of what comes next; None where the prompts end with a picture, or are empty."""


class TextAnswer(NamedTuple):
    """What is said after a prompt."""

    tokens: list[int]
    """Without the one that ended it."""
    finish_reason: FinishReason
    """stop; or length, where tokens or the context ran out."""


@torch.inference_mode()
def answer(
    model: FusedModel,
    prompts: Sequence[Prompt],
    parameters: Sequence[SamplingParameters],
    *,
    batch: int = BATCH,
) -> list[TextAnswer]:
    """What the model says after each prompt, each by its own parameters; nothing is drawn."""
    _check_number("parameters", parameters, prompts)
    told = [_tidied(prompt) for prompt in prompts]
    answers: list[TextAnswer | None] = [None] * len(told)
    for places in _alike(told, batch):
        memory, logits_BV = read_prompts(model, [told[place] for place in places])
        if logits_BV is None:
            raise InvalidInput.for_field(
                "prompts", places[0], "ends with a picture, or is empty", "End it with a token."
            )
        room = [model.config.text.context_length - position for position in memory.positions]
        of_rows = [parameters[place] for place in places]
        said = continue_text(model, memory, logits_BV, of_rows)
        for place, tokens, left, own in zip(places, said, room, of_rows, strict=True):
            # The last token is chosen after all of the context has been read.
            cut_short = len(tokens) == min(own.max_tokens, left + 1)
            answers[place] = TextAnswer(tokens, "length" if cut_short else "stop")
    return [found for found in answers if found is not None]


@torch.inference_mode()
def draw(
    model: FusedModel,
    prompts: Sequence[Prompt],
    *,
    seeds: Sequence[int],
    steps: int = 50,
    guidance: float = 2.0,
    guidance_from: float = GUIDANCE_FROM,
    solver: Solver = "euler",
    batch: int = BATCH,
    painter: Denoiser | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """One picture a prompt, float32 (B, C, H, W), about −1 … 1; an empty prompt asks for anything.

    `painter` is the model's frozen form for drawing, made if not given. The noise of a picture follows
    from its seed, so that it comes out the same whatever is drawn beside it.
    """
    _check_number("seeds", seeds, prompts)
    painter = painter or model.painter()
    told = [_tidied(prompt) for prompt in prompts]
    images_BCHW = draw_noise(painter.config, seeds).to(_device(model))
    for places in _alike(told, batch):
        if told[places[0]]:
            images_BCHW[places] = sample_in_context(
                painter,
                model.context(read_prompts(model, [told[place] for place in places]).memory),
                seeds=[seeds[place] for place in places],
                steps=steps,
                guidance=guidance,
                guidance_from=guidance_from,
                solver=solver,
                on_step=on_step,
            )
        else:
            predict = guided_by(painter, None, 1.0)
            noise_BCHW = images_BCHW[places]
            images_BCHW[places] = integrate(predict, noise_BCHW, steps=steps, solver=solver, on_step=on_step)
    return images_BCHW


@torch.inference_mode()
def prompted_losses(
    model: FusedModel,
    prompts: Sequence[Prompt],
    images_BCHW: Tensor,
    *,
    seeds: Sequence[int],
    num_times: int = NUM_TIMES,
    batch: int = BATCH,
    painter: Denoiser | None = None,
) -> Tensor:
    """What each picture costs after its prompt, as `picture_losses` counts it, float32 (B).

    An empty prompt leaves the picture to itself.
    """
    _check_number("images", images_BCHW, prompts)
    _check_number("seeds", seeds, prompts)
    painter = painter or model.painter()
    told = [_tidied(prompt) for prompt in prompts]
    images_BCHW = images_BCHW.to(_device(model))
    losses_B = torch.zeros(len(told), device=images_BCHW.device)
    for places in _alike(told, batch):
        context = None
        if told[places[0]]:
            context = model.context(read_prompts(model, [told[place] for place in places]).memory)
        losses_B[places] = picture_losses(
            painter,
            context,
            images_BCHW[places],
            seeds=[seeds[place] for place in places],
            num_times=num_times,
        )
    return losses_B


@torch.inference_mode()
def text_logprobs(model: FusedModel, tokens_BT: Tensor) -> Tensor:
    """Log-probability of every token but the first of rows of text alone, (B, T − 1), float32."""
    num_rows, num_tokens = tokens_BT.shape
    none_BM = torch.zeros(num_rows, 0, dtype=torch.long, device=tokens_BT.device)
    places_BT = torch.arange(num_tokens, device=tokens_BT.device).expand(num_rows, -1)
    of_text = (tokens_BT, torch.zeros_like(tokens_BT), places_BT, places_BT)
    inputs = _TextRows(*of_text, none_BM, none_BM, none_BM, none_BM.bool())
    image = model.config.image
    shape = (num_rows, 0, image.channels, image.image_height, image.image_width)
    none_BMCHW = torch.zeros(shape, device=tokens_BT.device)
    hidden_BTD = model(inputs, none_BMCHW, none_BM.float()).hidden_BTD[:, :-1]
    return -model.text_losses(hidden_BTD, tokens_BT[:, 1:]).each_N.view(num_rows, -1)


@torch.inference_mode()
def read_prompts(model: FusedModel, prompts: Sequence[Prompt]) -> Read:
    """Read prompts of one order of texts and pictures; equal beginnings once."""
    told = [_tidied(prompt) for prompt in prompts]
    memory = model.begin(1)
    logits_BV: Tensor | None = None
    beginnings = [0] * len(told)  # the row that holds what each prompt has said so far
    for runs in zip(*told, strict=True):
        numbers: dict[tuple[int, object], int] = {}
        parents: list[int] = []
        new: list[tuple[int, ...] | Tensor] = []
        grown = []
        for beginning, run in zip(beginnings, runs, strict=True):
            key = (beginning, _content(run))
            if key not in numbers:
                numbers[key] = len(new)
                parents.append(beginning)
                new.append(run)
            grown.append(numbers[key])
        memory = memory.rows(parents)
        logits_BV = _read_runs(model, memory, new)
        beginnings = grown
    return Read(memory.rows(beginnings), None if logits_BV is None else logits_BV[beginnings])


def _read_runs(model: FusedModel, memory: Memory, runs: Sequence[tuple[int, ...] | Tensor]) -> Tensor | None:
    """Read one run in every row; logits (B, V) behind texts."""
    pictures = [run for run in runs if isinstance(run, Tensor)]
    if pictures:
        images_BCHW = torch.stack(pictures).to(memory.device)
        check_pictures(images_BCHW, model.config.image, "a model")
        model.read_picture(memory, images_BCHW)
        return None
    texts = [run for run in runs if not isinstance(run, Tensor)]
    lengths = [len(text) for text in texts]
    for text in texts:
        check_tokens(text, model.config.text.vocab_size)
    padded = [[*text, *[0] * (max(lengths) - len(text))] for text in texts]
    logits_BTV = model.read_text(memory, torch.tensor(padded, device=memory.device), lengths)
    return logits_BTV[torch.arange(len(texts)), torch.tensor(lengths) - 1].float()


def _tidied(prompt: Prompt) -> list[tuple[int, ...] | Tensor]:
    """Neighbouring runs of tokens as one, empty ones left out."""
    tidied: list[tuple[int, ...] | Tensor] = []
    for run in prompt:
        if isinstance(run, Tensor):
            tidied.append(run)
        elif tidied and not isinstance(tidied[-1], Tensor):
            tidied[-1] = (*tidied[-1], *run)
        elif len(run):
            tidied.append(tuple(run))
    return tidied


def _content(run: tuple[int, ...] | Tensor) -> object:
    return run.numpy(force=True).tobytes() if isinstance(run, Tensor) else run


def _alike(told: Sequence[Sequence[tuple[int, ...] | Tensor]], most: int) -> Iterator[list[int]]:
    """Places of up to `most` prompts of one order of texts and pictures at a time."""
    by_order: dict[tuple[bool, ...], list[int]] = {}
    for place, prompt in enumerate(told):
        by_order.setdefault(tuple(isinstance(run, Tensor) for run in prompt), []).append(place)
    for places in by_order.values():
        for start in range(0, len(places), most):
            yield places[start : start + most]


class _Counted(Protocol):
    def __len__(self) -> int: ...


def _check_number(field: str, values: _Counted, prompts: Sequence[Prompt]) -> None:
    if len(values) != len(prompts):
        raise InvalidInput.for_field(
            field, len(values), f"do not match {len(prompts)} prompts", "Give one a prompt."
        )


def _device(model: FusedModel) -> torch.device:
    return model.text.embedding.weight.device


class _TextRows(NamedTuple):
    """Rows without pictures, as `MixedInputs`."""

    tokens_BT: Tensor
    text_sample_BT: Tensor
    text_order_BT: Tensor
    text_position_BT: Tensor
    picture_sample_BM: Tensor
    picture_order_BM: Tensor
    picture_position_BM: Tensor
    picture_noisy_BM: Tensor
