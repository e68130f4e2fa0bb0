"""Fusions in stages, one span after the other: text, a given picture, a picture drawn of what came before."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from vermeil_model.cross_layers import CrossLayer
from vermeil_model.fusions.cross_attention import CrossAttention
from vermeil_model.fusions.prefix import Prefix
from vermeil_model.image_model import layer_modulation
from vermeil_model.staged import Staged
from vermeil_model.testing import DRAWN, GIVEN, Sample


class Expected(NamedTuple):
    logits: torch.Tensor
    """Of the sample's tokens, (T, V)."""
    predicted: torch.Tensor
    """Of its picture slots, (M, C, H, W)."""


class Part(NamedTuple):
    """A token, or a picture."""

    token: int | None
    image: torch.Tensor | None
    noisy: bool
    position: int


class Lane(NamedTuple):
    """Tokens that go through a tower together."""

    x: torch.Tensor
    positions: torch.Tensor
    """(3, 1, T)"""
    sees: list[int]
    """Lanes, its own among them."""
    embedded: torch.Tensor | None = None
    """The time, of pictures."""
    before: Callable[[int, torch.Tensor], torch.Tensor] = lambda _layer, x: x
    bias: float = 0.0
    """On the scores of other lanes."""


def parts_of(model: Staged, sample: Sample, images: Sequence[torch.Tensor]) -> list[Part]:
    left, parts, position = iter(images), [], 0
    for place, segment in enumerate(sample):
        if isinstance(segment, str):
            if segment == DRAWN:
                parts.append(Part(None, next(left), True, position))
            if segment == GIVEN or place + 1 < len(sample):
                parts.append(Part(None, next(left), False, position))
            position += model.config.picture_stride
            continue
        for token in segment:
            parts.append(Part(token, None, False, position))
            position += 1
    return parts


def through(tower: torch.nn.Module, lanes: list[Lane]) -> list[torch.Tensor]:
    """Lanes after all layers of a tower."""
    streams = [lane.x for lane in lanes]
    for index, block in enumerate(tower.layers):
        by = [
            None if lane.embedded is None or tower.modulations(lane.embedded) is None
            else layer_modulation(tower.modulations(lane.embedded), index)
            for lane in lanes
        ]  # fmt: skip
        streams = [lane.before(index, x) for lane, x in zip(lanes, streams, strict=True)]
        heads = [
            block.open(x[None], tower.rotary(lane.positions, x.dtype), m)
            for lane, x, m in zip(lanes, streams, by, strict=True)
        ]
        for place, lane in enumerate(lanes):
            keys = torch.cat([heads[other][1][0] for other in lane.sees])
            values = torch.cat([heads[other][2][0] for other in lane.sees])
            bias = torch.cat([keys.new_full((len(lanes[o].x),), lane.bias * (o != place)) for o in lane.sees])
            mixed = attend(heads[place][0][0], keys, values, bias)
            streams[place] = block.close(streams[place][None], mixed[None], by[place])[0]
    return streams


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    group = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1)
    scores = torch.einsum("qhe,khe->hqk", queries, keys) / math.sqrt(queries.shape[-1]) + bias
    return torch.einsum("hqk,khe->qhe", scores.softmax(-1), values)


def patches_at(model: Staged, position: int) -> torch.Tensor:
    return model.picture_positions(torch.tensor([position]))


def at(position: int) -> torch.Tensor:
    return torch.full((3, 1, 1), position)


def start_of(model: Staged, image: torch.Tensor, time: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What the first layer sees of a picture, and its time."""
    embedded = model.image.embed_time(torch.tensor([time]), None)
    image = image[None].to(model.image.position.dtype)
    return model.image.embed_patches(image, embedded)[0], embedded


def end_of(model: Staged, x: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
    return model.image.readout(x[None], model.image.modulations(embedded))[0]


def seen(model: Staged, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States of a given picture, and what the tower predicts of it."""
    x, embedded = start_of(model, image, 1.0)
    (x,) = through(model.image, [Lane(x, patches_at(model, 0), [0], embedded)])
    return model.image.norm(x), end_of(model, x, embedded)


def prefix_expected(model: Prefix, sample: Sample, images: Sequence[torch.Tensor], time: float) -> Expected:
    parts = parts_of(model, sample, images)
    project = model.joint.to_text
    lanes, places, states = [], {}, {}
    for place, part in enumerate(parts):
        if part.noisy:
            continue
        places[place] = len(lanes)
        everything = list(range(len(lanes) + 1))
        if part.image is None:
            x = model.text.embedding.weight[[part.token]]
            lanes.append(Lane(x, at(part.position), everything))
        else:
            states[place] = seen(model, part.image)
            risen = torch.nn.functional.gelu(states[place][0] @ project.rise.weight.T)
            lanes.append(Lane(risen @ project.mix.weight.T, patches_at(model, part.position), everything))
    hidden = [model.text.norm(x) for x in through(model.text, lanes)]
    told = {place: hidden[lane] for place, lane in places.items() if parts[place].image is None}
    drawn = []
    for place, part in enumerate(parts):
        if part.image is None:
            continue
        if not part.noisy:
            drawn.append(states[place][1])
            continue
        to_image = model.joint.to_image
        condition = []
        for before in [p for p in told if p < place]:
            x = torch.nn.functional.gelu(told[before] @ to_image.rise.weight.T) @ to_image.mix.weight.T
            condition.append(Lane(x, at(parts[before].position), list(range(len(condition) + 1))))
        x, embedded = start_of(model, part.image, time)
        bias = math.log(float(model.joint.openness) + 1e-20)
        own = Lane(x, patches_at(model, part.position), list(range(len(condition) + 1)), embedded, bias=bias)
        drawn.append(end_of(model, through(model.image, [*condition, own])[-1], embedded))
    return _expected(model, told, drawn)


def cross_attention_expected(
    model: CrossAttention, sample: Sample, images: Sequence[torch.Tensor], time: float
) -> Expected:
    parts = parts_of(model, sample, images)
    every = model.config.options.get("every", 2)
    states = {p: seen(model, part.image) for p, part in enumerate(parts) if part.image is not None}

    def looking(layers: torch.nn.ModuleList, at_what: list[torch.Tensor]):
        def before(index: int, x: torch.Tensor) -> torch.Tensor:
            if (index + 1) % every or not at_what:
                return x
            return crossed(layers[(index + 1) // every - 1], x, torch.cat(at_what))

        return before

    lanes, places = [], []
    for place, part in enumerate(parts):
        if part.image is None:
            given = [states[p][0] for p in states if p < place and not parts[p].noisy]
            x = model.text.embedding.weight[[part.token]]
            before = looking(model.joint.text, given)
            lanes.append(Lane(x, at(part.position), list(range(len(lanes) + 1)), before=before))
            places.append(place)
    hidden = [model.text.norm(x) for x in through(model.text, lanes)]
    told = dict(zip(places, hidden, strict=True))
    drawn = []
    for place, part in enumerate(parts):
        if part.image is None:
            continue
        if not part.noisy:
            drawn.append(states[place][1])
            continue
        x, embedded = start_of(model, part.image, time)
        before = looking(model.joint.image, [told[p] for p in told if p < place])
        lane = Lane(x, patches_at(model, 0), [0], embedded, before)
        drawn.append(end_of(model, through(model.image, [lane])[0], embedded))
    return _expected(model, told, drawn)


def crossed(layer: CrossLayer, x: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    heads = (states @ layer.key_value.weight.T).unflatten(-1, (-1, layer.query_norm.weight.numel()))
    keys, values = heads.chunk(2, 1)
    queries = (layer.attention_norm(x) @ layer.query.weight.T).unflatten(
        -1, (-1, layer.query_norm.weight.numel())
    )
    mixed = attend(layer.query_norm(queries), layer.key_norm(keys), values, keys.new_zeros(len(keys)))
    gates = layer.gate_2.tanh()
    x = x + gates[0] * (mixed.flatten(1) @ layer.output.weight.T)
    return x + gates[1] * layer.feed_forward(layer.feed_forward_norm(x))


def _expected(model: Staged, told: dict[int, torch.Tensor], drawn: list[torch.Tensor]) -> Expected:
    empty = model.text.embedding.weight[:0]
    hidden = torch.cat([empty, *(told[place] for place in sorted(told))])
    return Expected(model.text.readout(hidden), torch.stack(drawn) if drawn else torch.empty(0))
