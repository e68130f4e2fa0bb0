import copy
import dataclasses

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import fuse, fused_config
from vermeil_model.fusions.alloy import Alloy
from vermeil_model.spans import boolean_mask, spans_of
from vermeil_model.testing import (
    BY_CLASS,
    DRAWN,
    GIVEN,
    Rows,
    lay_out,
    small_fused,
    small_image_model,
    small_images,
    small_model,
)

ROWS = [[[[1, 7], GIVEN, [9, 4, 30]], [[1, 20], DRAWN]], [[[1, 5, 6], DRAWN, [9, 2, 11]]]]
WIDER = {"width": 32, "feed_forward_width": 56}


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0, check_dtype=False)


def rows() -> Rows:
    return lay_out(ROWS, 10, 3)


def pictures() -> torch.Tensor:
    return small_images(6).unflatten(0, (2, 3))


TIMES = torch.tensor([[0.3, 0.9, 0.1], [0.5, 0.2, 0.7]])


def alloy(**changes: object) -> Alloy:
    text, image = small_model(), small_image_model(**BY_CLASS | changes)
    model = fuse(text, image, fused_config(text, image, "alloy"))
    assert isinstance(model, Alloy)
    return model.eval()


@pytest.mark.parametrize("changes", [{}, {"adaln": True}, WIDER])
@pytest.mark.parametrize("gradients", [False, True])
def test_with_shut_gates_the_towers_are_the_backbones(changes: dict[str, object], gradients: bool) -> None:
    model = alloy(**changes)
    model.set_openness(0)
    text, image, inputs = small_model(), small_image_model(**BY_CLASS | changes), rows()
    with torch.set_grad_enabled(gradients):
        output = model(inputs, pictures(), TIMES)
        logits = model.text.readout(output.hidden_BTD)
        alone = text(
            inputs.tokens_BT, documents_BT=inputs.text_sample_BT, positions=inputs.text_position_BT
        ).logits
        times = TIMES.where(inputs.picture_noisy_BM, 1.0)
        expected = image(pictures().flatten(0, 1), times.flatten())
    held = inputs.text_sample_BT >= 0
    close(logits[held], alone[held])
    close(output.predicted_BMCHW.flatten(0, 1), expected)


@torch.no_grad()
def test_with_shut_gates_the_products_of_bfloat16_give_the_backbones_too() -> None:
    model, inputs = alloy().bfloat16(), rows()
    model.set_openness(0)
    text, image = small_model().bfloat16(), small_image_model(**BY_CLASS).bfloat16()
    output = model(inputs, pictures(), TIMES)
    held = inputs.text_sample_BT >= 0
    alone = text(inputs.tokens_BT, documents_BT=inputs.text_sample_BT, positions=inputs.text_position_BT)
    close(model.text.readout(output.hidden_BTD)[held].float(), alone.logits[held].float(), 0.1)
    times = TIMES.where(inputs.picture_noisy_BM, 1.0).flatten()
    found = output.predicted_BMCHW.flatten(0, 1).float()
    close(found, image(pictures().flatten(0, 1), times).float(), 0.1)


@torch.no_grad()
def test_open_gates_are_ordinary_joint_attention() -> None:
    inputs = rows()
    mixture = small_fused("mot")(inputs, pictures(), TIMES)
    output = alloy()(inputs, pictures(), TIMES)
    close(output.hidden_BTD, mixture.hidden_BTD)
    close(output.predicted_BMCHW, mixture.predicted_BMCHW)


def test_a_gate_that_is_shut_has_the_gradient_of_opening_it() -> None:
    model = alloy().double()
    gate = model.joint.gate_NH2
    weights = torch.randn(2, 10, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def value() -> torch.Tensor:
        output = model(rows(), pictures().double(), TIMES)
        return (output.hidden_BTD * weights).sum() + output.predicted_BMCHW.square().sum()

    gate.data.zero_()
    value().backward()
    assert gate.grad is not None
    assert gate.grad.isfinite().all()
    for place in ((0, 0, 0), (0, 3, 1), (1, 2, 0), (1, 1, 1)):
        with torch.no_grad():
            shut = value()
            gate[place] = 1e-6
            slope = (value() - shut) / 1e-6
            gate[place] = 0
        assert abs(gate.grad[place]) > 1e-4
        torch.testing.assert_close(gate.grad[place], slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_gate_and_every_weight_learns_in_every_dtype(dtype: torch.dtype) -> None:
    model = alloy()
    model.joint.gate_NH2.data.zero_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = model(rows(), pictures(), TIMES)
        losses = model.text_losses(output.hidden_BTD, rows().targets_BT)
        (losses.mean + output.predicted_BMCHW.float().square().sum()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name
    assert (model.joint.gate_NH2.grad != 0).all()


def test_a_gate_below_zero_is_shut_and_can_only_be_raised() -> None:
    model = alloy()
    gate = model.joint.gate_NH2
    gate.data.fill_(-0.5)
    assert not model.alloy().any()
    model.joint().sum().backward()
    assert not gate.grad.any()
    (-model.joint().sum()).backward()
    assert (gate.grad == -1).all()


@torch.no_grad()
def test_half_open_gates_halve_alpha() -> None:
    model = alloy()
    model.set_openness(0.5)
    assert (model.alloy() == 0.5).all()
    assert model.alloy().shape == (2, 4, 2)
    with pytest.raises(InvalidInput, match="openness"):
        model.set_openness(1.5)


@torch.no_grad()
def test_who_sees_whom_holds_for_packed_samples_and_noisy_pictures() -> None:
    inputs = rows()
    mask = boolean_mask(spans_of(inputs, 2, torch.tensor([[True] * 3, [False] * 3])))[:, 0]
    first = inputs.text_sample_BT[0] == 0
    second = inputs.text_sample_BT[0] == 1
    assert not mask[0, :10][first][:, :10][:, second].any()
    assert not mask[0, :10][second][:, :10][:, first].any()
    noisy, clean = slice(10, 12), slice(12, 14)  # of the second row: drawn, then given
    later = inputs.text_order_BT[1] > inputs.picture_order_BM[1, 0]
    assert not mask[1, :10, noisy].any()
    assert mask[1, :10, clean][later].all()
    assert mask[1, noisy, noisy].all()
    assert not mask[1, noisy, :10].any()
    assert mask[1, clean, :3].all()
    assert not mask[1, clean, noisy].any()
    assert mask.any(-1).all()


@torch.no_grad()
def test_later_text_heeds_the_clean_copy_and_never_the_noisy_one() -> None:
    model, inputs, images = alloy(), rows(), pictures()
    base = model(inputs, images, TIMES).hidden_BTD
    noisy, clean = images.clone(), images.clone()
    noisy[1, 0] = noisy[1, 0].flip(-1) + 0.5
    clean[1, 1] = clean[1, 1].flip(-1) + 0.5
    assert model(inputs, noisy, TIMES).hidden_BTD.equal(base)
    changed = (model(inputs, clean, TIMES).hidden_BTD - base)[1].abs().amax(-1)
    assert not changed[:3].any()
    assert (changed[3:6] > 1e-4).all()


@torch.no_grad()
def test_a_picture_without_its_prompt_is_the_backbones_own() -> None:
    model, inputs = alloy(), rows()
    prompted = torch.tensor([[True, False, True], [False, True, True]])
    output = model(inputs, pictures(), TIMES, prompted)
    drawn = inputs.picture_noisy_BM & ~prompted
    expected = small_image_model(**BY_CLASS)(pictures()[drawn], TIMES[drawn])
    close(output.predicted_BMCHW[drawn], expected)


@torch.no_grad()
def test_text_without_pictures_is_the_language_models() -> None:
    inputs = lay_out([[[[1, 2, 3, 4]], [[5, 6]]]], 7, 0)
    output = small_fused()(inputs, small_images(1)[:0].reshape(1, 0, 3, 12, 8), torch.zeros(1, 0))
    alone = small_model().hidden(
        inputs.tokens_BT, documents_BT=inputs.text_sample_BT, positions=inputs.text_position_BT
    )
    close(output.hidden_BTD[:, :6], alone[:, :6])
    assert output.predicted_BMCHW.shape == (1, 0, 3, 12, 8)


def test_a_vocabulary_grows_by_the_markers_the_backbone_lacks() -> None:
    text, image = small_model(), small_image_model(**BY_CLASS)
    model = fuse(text, image, fused_config(text, image, "alloy", vocab_size=63))
    assert model.text.embedding.weight[:61].equal(text.embedding.weight)
    close(model.text.embedding.weight[61:], text.embedding.weight.mean(0).expand(2, -1))


def test_names_of_weights_tell_the_towers_and_what_joins_them_apart() -> None:
    names = [name for name, _ in alloy().named_parameters()]
    assert {name.split(".")[0] for name in names} == {"text", "image", "joint"}
    assert [name for name in names if name.startswith("joint.")] == ["joint.gate_NH2"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"num_heads": 2}, "image.num_heads"),
        ({"num_key_value_heads": 4}, "image.num_key_value_heads"),
        ({"depth": 3}, "image.depth"),
        ({"head_width": 16}, "image.head_width"),
    ],
)
def test_towers_that_do_not_match_are_refused_by_field(changes: dict[str, object], field: str) -> None:
    text, image = small_model(), small_image_model(**changes)
    for fusion in ("alloy", "mot", "dense", "low_rank"):
        with pytest.raises(InvalidInput) as refusal:
            fuse(text, image, fused_config(text, image, fusion))
        assert refusal.value.field == field
        assert refusal.value.fix


def test_bad_configs_are_refused_by_field() -> None:
    text, image = small_model(), small_image_model()
    good = fused_config(text, image, "alloy")
    cases = (
        (dataclasses.replace(good, fusion="soup"), "fusion"),
        (dataclasses.replace(good, options={"start": -1}), "options.start"),
        (dataclasses.replace(good, options={"begin": 1}), "options.begin"),
        (fused_config(text, image, "alloy", vocab_size=60), "text.vocab_size"),
        (dataclasses.replace(good, image=dataclasses.replace(image.config, width=32)), "image.width"),
    )
    for config, field in cases:
        with pytest.raises(InvalidInput) as refusal:
            fuse(text, image, config)
        assert refusal.value.field == field
        assert refusal.value.fix


def test_pictures_that_do_not_fit_are_refused() -> None:
    model = alloy()
    with pytest.raises(InvalidInput, match="not of shape"):
        model(rows(), torch.zeros(2, 3, 3, 8, 12), TIMES)
    with pytest.raises(InvalidInput, match="do not fill"):
        model(rows(), torch.zeros(2, 2, 3, 12, 8), TIMES)


def test_a_copy_of_a_fused_model_is_its_own() -> None:
    model = alloy()
    copied = copy.deepcopy(model)
    copied.joint.gate_NH2.data.zero_()
    assert model.alloy().all()
