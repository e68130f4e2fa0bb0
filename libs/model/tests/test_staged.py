"""What prefixes and gated cross-attention promise beside what every fusion does."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from vermeil_errors import InvalidInput
from vermeil_model import FusedModel, fuse, fused_config, fused_losses, make_fused
from vermeil_model.cross_layers import CrossLayer
from vermeil_model.fusions.cross_attention import CrossAttention
from vermeil_model.fusions.prefix import Prefix
from vermeil_model.image_sampling import guided_by
from vermeil_model.staged import attention_flops
from vermeil_model.testing import (
    BY_CLASS,
    DRAWN,
    GIVEN,
    lay_out,
    small_fused,
    small_image_model,
    small_images,
    small_model,
)

STAGED = ("prefix", "cross_attention")
ROWS = [[[[1, 7], GIVEN, [9, 4, 30]], [[1, 20], DRAWN]], [[[1, 5, 6], DRAWN, [9, 2, 11]]]]
INPUTS = lay_out(ROWS, 10, 2)
IMAGES = small_images(4).unflatten(0, (2, 2))
TIMES = torch.tensor([[0.3, 0.9], [0.5, 0.2]])
OTHER = {"width": 32, "feed_forward_width": 56, "depth": 3, "num_heads": 2, "num_key_value_heads": 1}


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0)


def fused(fusion: str, **changes: object) -> FusedModel:
    text, image = small_model(), small_image_model(**BY_CLASS | changes)
    return fuse(text, image, fused_config(text, image, fusion)).eval()


def drawn_alone(**changes: object) -> torch.Tensor:
    """What the image backbone makes of all pictures."""
    times = TIMES.where(INPUTS.picture_noisy_BM, 1.0).flatten()
    return small_image_model(**BY_CLASS | changes)(IMAGES.flatten(0, 1), times).view(IMAGES.shape)


def read_alone() -> torch.Tensor:
    """What the language model makes of all text."""
    return small_model().hidden(
        INPUTS.tokens_BT, documents_BT=INPUTS.text_sample_BT, positions=INPUTS.text_position_BT
    )


@pytest.mark.parametrize("changes", [{}, {"adaln": True}, OTHER])
@pytest.mark.parametrize("shut", [False, True])
@torch.no_grad()
def test_cross_attention_begins_as_the_backbones(changes: dict[str, object], shut: bool) -> None:
    text, image = small_model(), small_image_model(**BY_CLASS | changes)
    options = {"start": 0.5 if shut else 0.0}
    model = fuse(text, image, fused_config(text, image, "cross_attention", options))
    assert isinstance(model, CrossAttention)
    model.set_openness(0 if shut else 1)
    output = model(INPUTS, IMAGES, TIMES)
    held = INPUTS.text_sample_BT >= 0
    close(output.hidden_BTD[held], read_alone()[held])
    close(output.predicted_BMCHW, drawn_alone(**changes))
    model.set_openness(1)
    moved = (model(INPUTS, IMAGES, TIMES).predicted_BMCHW - output.predicted_BMCHW)[INPUTS.picture_noisy_BM]
    assert moved.any() == shut


@pytest.mark.parametrize("changes", [{}, {"adaln": True}, OTHER])
@torch.no_grad()
def test_a_shut_prefix_draws_what_the_backbone_draws(changes: dict[str, object]) -> None:
    model = fused("prefix", **changes)
    assert isinstance(model, Prefix)
    model.set_openness(0)
    close(model(INPUTS, IMAGES, TIMES).predicted_BMCHW, drawn_alone(**changes))
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([[1, 20, 7]]))
    drawn = guided_by(model.painter(), model.context(memory), 1)(IMAGES[0, :1], 0.4)
    close(drawn, small_image_model(**BY_CLASS | changes)(IMAGES[0, :1], torch.tensor([0.4])))
    with pytest.raises(InvalidInput, match="openness"):
        model.set_openness(-1)


@pytest.mark.parametrize("fusion", STAGED)
@torch.no_grad()
def test_text_that_has_seen_no_picture_is_the_language_models(fusion: str) -> None:
    model, alone = small_fused(fusion), read_alone()
    hidden = model(INPUTS, IMAGES, TIMES).hidden_BTD
    before = (INPUTS.text_sample_BT == 1) | (INPUTS.text_position_BT < 2) & (INPUTS.text_sample_BT == 0)
    before[1] = INPUTS.text_position_BT[1] < 3
    before &= INPUTS.text_sample_BT >= 0
    close(hidden[before], alone[before])
    seeing = (INPUTS.text_sample_BT >= 0) & ~before
    assert ((hidden - alone)[seeing].abs().amax(-1) > 1e-3).all()
    words = lay_out([[[[1, 2, 3, 4]], [[5, 6]]]], 7, 0)
    output = model(words, IMAGES[:1, :0], TIMES[:1, :0])
    expected = small_model().hidden(words.tokens_BT, documents_BT=words.text_sample_BT)
    close(output.hidden_BTD[:, :4], expected[:, :4])


@pytest.mark.parametrize("fusion", STAGED)
@torch.no_grad()
def test_only_a_picture_with_its_prompt_heeds_it(fusion: str) -> None:
    model = small_fused(fusion)
    prompted = torch.tensor([[True, False], [True, True]])
    found = model(INPUTS, IMAGES, TIMES, prompted).predicted_BMCHW
    close(found[0], drawn_alone()[0])
    assert (found - drawn_alone())[1, 0].abs().max() > 1e-3


@pytest.mark.parametrize("fusion", STAGED)
@torch.no_grad()
def test_later_text_heeds_the_clean_copy_and_never_the_noisy_one(fusion: str) -> None:
    model = small_fused(fusion)
    base = model(INPUTS, IMAGES, TIMES).hidden_BTD
    noisy, clean = IMAGES.clone(), IMAGES.clone()
    noisy[1, 0] = noisy[1, 0].flip(-1) + 0.5
    clean[1, 1] = clean[1, 1].flip(-1) + 0.5
    close(model(INPUTS, noisy, TIMES).hidden_BTD, base, 0)
    changed = (model(INPUTS, clean, TIMES).hidden_BTD - base)[1].abs().amax(-1)
    assert not changed[:3].any()
    assert (changed[3:6] > 1e-4).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fusion", STAGED)
def test_what_joins_the_towers_learns_from_the_first_step(fusion: str, dtype: torch.dtype) -> None:
    model = fused(fusion)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        losses = fused_losses(model, INPUTS, IMAGES, torch.Generator().manual_seed(1), drop=0.0, num_tasks=2)
        losses.total().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name
        assert "gate_2" not in name or weight.grad.all(), name


@pytest.mark.parametrize("kind", [GIVEN, DRAWN])
@pytest.mark.parametrize("fusion", STAGED)
def test_every_weight_has_a_gradient_where_pictures_are_of_one_kind(fusion: str, kind: str) -> None:
    model = fused(fusion)
    inputs = lay_out([[[[1, 7], kind]]], 4, 2)
    losses = fused_losses(model, inputs, IMAGES[:1], torch.Generator().manual_seed(1))
    losses.total().backward()
    unused = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert not unused


@pytest.mark.parametrize("fusion", STAGED)
@torch.no_grad()
def test_rows_may_differ_in_what_they_hold_by_more_than_a_context(fusion: str) -> None:
    model = small_fused(fusion)
    images = small_images(10)
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([[1, 20, 7]]))
    alone = model.context(memory)
    memory = memory.rows([0, 0])
    for image in images:
        model.read_picture(memory, image.expand(2, -1, -1, -1))
    assert max(memory.lengths) > model.config.text.context_length + model.config.picture_stride
    memory.go_back([3, 3], [0, len(images)])
    both = model.context(memory)
    shown = IMAGES[0, :1]
    for context in (both.rows(torch.tensor([0])), alone):
        close(guided_by(model.painter(), context, 1)(shown, 0.4), _drawn(model, [1, 20, 7], shown))


def _drawn(model: FusedModel, prompt: list[int], image: torch.Tensor) -> torch.Tensor:
    inputs = lay_out([[[prompt, DRAWN]]], len(prompt), 1)
    return model(inputs, image[None], torch.full((1, 1), 0.4)).predicted_BMCHW[0]


@pytest.mark.parametrize("fusion", STAGED)
@torch.no_grad()
def test_what_is_forgotten_was_never_read(fusion: str) -> None:
    model, images = small_fused(fusion), small_images(3)
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([[1, 20]]))
    model.read_picture(memory, images[:1])
    held = list(memory.num_tokens), list(memory.num_pictures)
    fresh = memory.rows([0])
    model.read_text(memory, torch.tensor([[4, 5, 6]]))
    model.read_picture(memory, images[1:2])
    memory.go_back(*held)
    found = []
    for each in (memory, fresh):
        logits = model.read_text(each, torch.tensor([[9, 3]]))
        found.append((logits, guided_by(model.painter(), model.context(each), 2.0)(images[2:], 0.5)))
    close(found[0][0], found[1][0])
    close(found[0][1], found[1][1])


@pytest.mark.parametrize(
    ("fusion", "options", "field"),
    [
        ("prefix", {"rank": 1}, "options.rank"),
        ("cross_attention", {"every": 0}, "options.every"),
        ("cross_attention", {"every": True}, "options.every"),
        ("cross_attention", {"every": 3}, "options.every"),
        ("cross_attention", {"start": -1}, "options.start"),
        ("cross_attention", {"start": "open"}, "options.start"),
        ("cross_attention", {"each": 1}, "options.each"),
    ],
)
def test_wrong_options_are_refused_by_field(fusion: str, options: dict[str, object], field: str) -> None:
    text, image = small_model(), small_image_model(**BY_CLASS)
    with pytest.raises(InvalidInput) as refusal:
        fuse(text, image, fused_config(text, image, fusion, options))
    assert refusal.value.field == field
    assert refusal.value.fix


@pytest.mark.parametrize("fusion", STAGED)
def test_fresh_weights_follow_from_the_generator_alone(fusion: str) -> None:
    config = small_fused(fusion).config
    first, again, other = make_fused(config), make_fused(config), make_fused(config)
    first.init_weights(torch.Generator().manual_seed(3))
    again.init_weights(torch.Generator().manual_seed(3))
    other.init_weights(torch.Generator().manual_seed(4))
    for name, weight in first.named_parameters():
        assert weight.equal(again.get_parameter(name)), name
        drawn = weight.ndim == 2 and name not in ("image.position", "image.head.weight")
        assert not drawn or not weight.equal(other.get_parameter(name)), name


@pytest.mark.parametrize("fusion", STAGED)
@torch.no_grad()
def test_operations_are_counted_as_they_are_computed(fusion: str) -> None:
    model, sample = small_fused(fusion), [[1, 7], GIVEN, [9, 4], GIVEN, [3, 2], DRAWN]
    inputs, image = lay_out([[sample]], 6, 3), model.config.image
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model(inputs, small_images(3)[None], torch.full((1, 3), 0.4))
        model.text.readout(output.hidden_BTD)
    given = 2 * image.num_patches
    if isinstance(model, CrossAttention):
        layers = [layer for layer in model.joint.image if isinstance(layer, CrossLayer)]
        as_drawn = sum(layer.flops(given, 6) - layer.flops(0, 6) for layer in layers)
    else:
        as_drawn = attention_flops(image.tower, given, 6)
    assert counter.get_total_flops() + as_drawn == model.flops(6, 3)


@pytest.mark.parametrize("fusion", STAGED)
def test_what_neither_backbone_has_is_drawn_from_the_seed(fusion: str) -> None:
    text, image = small_model(), small_image_model(**BY_CLASS)
    config = fused_config(text, image, fusion)
    first, again, other = (fuse(text, image, config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(first[name].equal(again[name]) for name in first)
    differing = [name for name in first if not first[name].equal(other[name])]
    assert differing
    assert all(name.startswith("joint.") for name in differing)
