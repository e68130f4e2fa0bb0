"""Every fusion slot by slot, in true order and without packing: what fused models are held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from vermeil_model.fused_model import FusedModel
from vermeil_model.fusions.cross_attention import CrossAttention
from vermeil_model.fusions.prefix import Prefix
from vermeil_model.image_sampling import guided_by
from vermeil_model.picture_stream import PictureStream
from vermeil_model.testing import (
    DRAWN,
    GIVEN,
    Rows,
    Sample,
    fused_by_formula,
    lay_out,
    small_fused,
    small_image_model,
    small_images,
    small_model,
)
from vermeil_model.towers import Towers

from .staged_reference import Expected, cross_attention_expected, prefix_expected

TIME = 0.4
MODELS = (
    ("alloy", {}),
    ("mot", {}),
    ("dense", {}),
    ("low_rank", {"attention": 3, "feed_forward": 0}),
    ("prefix", {}),
    ("cross_attention", {}),
    ("cross_attention", {"every": 1}),
)
CAPTIONING: Sample = [[1, 7], GIVEN, [9, 4, 30]]
DRAWING: Sample = [[1, 20, 21, 7], DRAWN]
INTERLEAVED: Sample = [[1, 5], GIVEN, [8, 8], DRAWN, [9, 2], GIVEN, [3]]
WORDS: Sample = [[1, 2, 3, 4, 5]]
SAMPLES = (CAPTIONING, DRAWING, INTERLEAVED, WORDS)


class _Span(NamedTuple):
    noisy: bool
    stream: PictureStream | None
    token: int


def expected_of(model: FusedModel, sample: Sample, images: Sequence[torch.Tensor], time: float) -> Expected:
    """What the model must say of one sample; all its drawn pictures are at one time."""
    if isinstance(model, Prefix):
        return prefix_expected(model, sample, images, time)
    if isinstance(model, CrossAttention):
        return cross_attention_expected(model, sample, images, time)
    assert isinstance(model, Towers)
    return towers_expected(model, sample, images, time)


def towers_expected(model: Towers, sample: Sample, images: Sequence[torch.Tensor], time: float) -> Expected:
    """Joint attention."""
    spans, tokens, positions = _spans(model, sample, images, time)
    gates = model.log_gates()
    x = model.text.embedding(torch.tensor([tokens], dtype=torch.long))
    rotation = model.text.rotary(torch.tensor([positions], dtype=torch.long), x.dtype)
    for index in range(model.config.text.depth):
        of_text, of_pictures = model.text.layers[index], model.image.layers[index]
        text_heads = of_text.open(x, rotation)
        heads = []
        for span in spans:
            if span.stream is None:
                heads.append([part[0, span.token : span.token + 1] for part in text_heads])
            else:
                stream = span.stream
                opened = of_pictures.open(stream.x_NPD, stream.rotation, stream.modulation(index))
                heads.append([part[0] for part in opened])
        mixed = [_attend(spans, heads, place, gates, index) for place in range(len(spans))]
        texts = [m for span, m in zip(spans, mixed, strict=True) if span.stream is None]
        if texts:
            x = of_text.close(x, torch.cat(texts)[None])
        for span, found in zip(spans, mixed, strict=True):
            if span.stream is not None:
                modulation = span.stream.modulation(index)
                span.stream.x_NPD = of_pictures.close(span.stream.x_NPD, found[None], modulation)
    drawn = [span.stream.predicted()[0] for span in spans if span.stream is not None]
    return Expected(
        model.text.readout(model.text.norm(x))[0], torch.stack(drawn) if drawn else torch.empty(0)
    )


def _spans(model: Towers, sample: Sample, images: Sequence[torch.Tensor], time: float):
    spans, tokens, positions, position = [], [], [], 0
    left = iter(images)

    def picture(noisy: bool) -> _Span:
        image = next(left)[None].to(model.image.position.dtype)
        at = torch.tensor([time if noisy else 1.0])
        return _Span(noisy, PictureStream(model, image, at, torch.tensor([position])), -1)

    for place, segment in enumerate(sample):
        if isinstance(segment, str):
            if segment == DRAWN:
                spans.append(picture(noisy=True))
            if segment != DRAWN or place + 1 < len(sample):
                spans.append(picture(noisy=False))
            position += model.config.picture_stride
            continue
        for token in segment:
            spans.append(_Span(False, None, len(tokens)))
            tokens.append(token)
            positions.append(position)
            position += 1
    return spans, tokens, positions


def _attend(spans, heads, place: int, gates: torch.Tensor | None, layer: int) -> torch.Tensor:
    queries = heads[place][0]
    group = queries.shape[1] // heads[place][1].shape[1]
    scores, values = [], []
    for other in [p for p in range(place) if not spans[p].noisy] + [place]:
        keys = heads[other][1].repeat_interleave(group, 1)
        score = torch.einsum("qhe,khe->hqk", queries, keys) / math.sqrt(queries.shape[-1])
        if gates is not None and (spans[other].stream is None) != (spans[place].stream is None):
            score = score + gates[layer, :, 0 if spans[place].stream is None else 1][:, None, None]
        scores.append(score)
        values.append(heads[other][2].repeat_interleave(group, 1))
    return torch.einsum("hqk,khe->qhe", torch.softmax(torch.cat(scores, 2), 2), torch.cat(values))


def num_slots(sample: Sample) -> int:
    drawn_on = sum(1 for place, part in enumerate(sample) if part == DRAWN and place + 1 < len(sample))
    return sum(isinstance(part, str) for part in sample) + drawn_on


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0, check_dtype=False)


def run(
    model: FusedModel, rows: list[list[Sample]], num_tokens: int, num_pictures: int, images: torch.Tensor
) -> tuple[Rows, torch.Tensor, torch.Tensor]:
    inputs = lay_out(rows, num_tokens, num_pictures, model.config.picture_stride)
    filled = torch.zeros(len(rows), num_pictures, *images.shape[1:])
    place = 0
    for row, samples in enumerate(rows):
        count = sum(map(num_slots, samples))
        filled[row, :count] = images[place : place + count]
        place += count
    output = model(inputs, filled, torch.full((len(rows), num_pictures), TIME))
    return inputs, model.text.readout(output.hidden_BTD), output.predicted_BMCHW


@pytest.mark.parametrize(("fusion", "options"), MODELS)
@pytest.mark.parametrize("sample", SAMPLES)
@torch.no_grad()
def test_a_sample_alone_is_read_as_the_reference_reads_it(fusion: str, options: dict, sample: Sample) -> None:
    model = small_fused(fusion, **options)
    images = small_images(num_slots(sample))
    expected = expected_of(small_fused(fusion, **options).double(), sample, images, TIME)
    _, logits, predicted = run(model, [[sample]], len(expected.logits), len(images), images)
    close(logits[0], expected.logits)
    if len(images):
        close(predicted[0], expected.predicted)


@pytest.mark.parametrize(("fusion", "options"), MODELS)
@torch.no_grad()
def test_packing_and_padding_change_nothing(fusion: str, options: dict) -> None:
    model = small_fused(fusion, **options)
    double = small_fused(fusion, **options).double()
    rows = [[CAPTIONING, INTERLEAVED], [DRAWING, WORDS, CAPTIONING], [WORDS]]
    images = small_images(sum(num_slots(sample) for row in rows for sample in row))
    inputs, logits, predicted = run(model, rows, 16, 6, images)
    place = 0
    for row, samples in enumerate(rows):
        for number, sample in enumerate(samples):
            count = num_slots(sample)
            expected = expected_of(double, sample, images[place : place + count], TIME)
            place += count
            close(logits[row, inputs.text_sample_BT[row] == number], expected.logits)
            if count:
                close(predicted[row, inputs.picture_sample_BM[row] == number], expected.predicted)


@pytest.mark.parametrize(("fusion", "options"), MODELS)
@torch.no_grad()
def test_what_is_read_bit_by_bit_is_what_is_read_at_once(fusion: str, options: dict) -> None:
    model = small_fused(fusion, **options)
    sample: Sample = [[1, 5], GIVEN, [8, 8, 40], GIVEN, [3]]
    images = small_images(2)
    expected = expected_of(small_fused(fusion, **options).double(), sample, images, TIME).logits
    memory = model.begin(2)
    found = [model.read_text(memory, torch.tensor([[1, 5]] * 2))]
    model.read_picture(memory, images[[0, 0]])
    found += [model.read_text(memory, torch.tensor([[token]] * 2)) for token in (8, 8, 40)]
    memory = memory.rows([1, 0, 1])
    model.read_picture(memory, images[[1, 1, 1]])
    found.append(model.read_text(memory, torch.tensor([[3, 60], [3, 0], [3, 1]]), [1, 2, 1])[:, :1])
    assert memory.lengths == [18, 19, 18]
    close(torch.cat([logits[0] for logits in found]), expected)
    close(found[-1][1], expected[-1:])


@pytest.mark.parametrize(("fusion", "options"), MODELS)
@torch.no_grad()
def test_rows_of_one_memory_may_stand_at_different_places(fusion: str, options: dict) -> None:
    model = small_fused(fusion, **options)
    samples: list[Sample] = [[[1, 5, 9], GIVEN, [8]], [[1], GIVEN, [8, 11]]]
    images = small_images(2)
    memory = model.begin(2)
    model.read_text(memory, torch.tensor([[1, 5, 9], [1, 0, 0]]), [3, 1])
    model.read_picture(memory, images)
    logits = model.read_text(memory, torch.tensor([[8, 0], [8, 11]]), [1, 2])
    double = small_fused(fusion, **options).double()
    first, second = (expected_of(double, s, [i], TIME).logits for s, i in zip(samples, images, strict=True))
    close(logits[0, 0], first[-1])
    close(logits[1], second[-2:])


@pytest.mark.parametrize(("fusion", "options"), MODELS)
@torch.no_grad()
def test_a_picture_is_drawn_under_what_has_been_read(fusion: str, options: dict) -> None:
    model = small_fused(fusion, **options)
    double = small_fused(fusion, **options).double()
    sample: Sample = [[1, 5], GIVEN, [8, 8], DRAWN]
    images = small_images(3)
    memory = model.begin(2)
    model.read_text(memory, torch.tensor([[1, 5, 2], [1, 5, 0]]), [3, 2])
    model.read_picture(memory, images[[2, 0]])
    model.read_text(memory, torch.tensor([[4, 0], [8, 8]]), [1, 2])
    context = model.context(memory)
    drawn = guided_by(model.painter(), context, 1)(images[[1, 1]], TIME)
    expected = expected_of(double, sample, images[:2], TIME).predicted[-1]
    close(drawn[1], expected)
    other = expected_of(double, [[1, 5, 2], GIVEN, [4], DRAWN], images[[2, 1]], TIME).predicted[-1]
    close(drawn[0], other)
    alone = expected_of(double, [DRAWN], images[1:2], TIME).predicted[0]
    close(guided_by(model.painter(), None, 1)(images[1:2], TIME)[0], alone)
    guided = guided_by(model.painter(), context, 3.0, start=0.0)(images[[1, 1]], TIME)
    close(guided[1], alone + 3 * (expected - alone), 1e-4)


@pytest.mark.parametrize("fusion", ["prefix", "cross_attention"])
@torch.no_grad()
def test_towers_in_stages_may_differ_in_all_their_sizes(fusion: str) -> None:
    other = {"width": 32, "feed_forward_width": 56, "depth": 3, "num_heads": 2, "num_key_value_heads": 1}
    other |= {"head_width": 16, "adaln": True}
    model = fused_by_formula(small_model(), small_image_model(**other), fusion)
    double = fused_by_formula(small_model(), small_image_model(**other), fusion).double()
    images = small_images(num_slots(INTERLEAVED))
    expected = expected_of(double, INTERLEAVED, images, TIME)
    _, logits, predicted = run(model, [[INTERLEAVED]], len(expected.logits), len(images), images)
    close(logits[0], expected.logits)
    close(predicted[0], expected.predicted)


@torch.no_grad()
def test_a_half_open_prefix_is_read_as_the_reference_reads_it() -> None:
    model, double = small_fused("prefix"), small_fused("prefix").double()
    for each in (model, double):
        assert isinstance(each, Prefix)
        each.set_openness(0.25)
    images = small_images(1)
    expected = expected_of(double, DRAWING, images, TIME).predicted
    close(run(model, [[DRAWING]], 4, 1, images)[2][0], expected)
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([[1, 20, 21, 7]]))
    close(guided_by(model.painter(), model.context(memory), 1)(images, TIME), expected)
    assert (expected_of(small_fused("prefix"), DRAWING, images, TIME).predicted - expected).abs().max() > 1e-3
