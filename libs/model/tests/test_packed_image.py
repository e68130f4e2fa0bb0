import pytest
import torch
from vermeil_model import Conditions, PackedImageModel, packed_image, sample_images
from vermeil_model.testing import BY_CLASS, BY_TEXT, small_conditions, small_image_model, small_images

TIMES = torch.tensor([0.0, 0.3, 0.7, 0.95, 0.5])
VARIANTS = (
    {},
    BY_CLASS,
    BY_TEXT,
    BY_CLASS | {"adaln": True},
    BY_TEXT | {"adaln": True, "pool_condition": False},
    {"qk_norm": False, "num_key_value_heads": 4},
)


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("most_rows", [12, 1024])
@torch.no_grad()
def test_the_packed_form_predicts_what_the_model_predicts(
    changes: dict[str, object], most_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_image, "MOST_ROWS", most_rows)
    model = small_image_model(**changes)
    packed = PackedImageModel(model)
    asked = small_conditions(5, model.config)
    context = None if asked is None else packed.read(asked)
    ours = packed(small_images(5), TIMES, context=context)
    torch.testing.assert_close(ours, model(small_images(5), TIMES, asked), atol=1e-5, rtol=0)
    if asked is not None:
        absent = asked.dropped(torch.tensor([True, False, True, False, False]))
        ours = packed(small_images(5), TIMES, context=packed.read(absent))
        torch.testing.assert_close(ours, model(small_images(5), TIMES, absent), atol=1e-5, rtol=0)


@pytest.mark.parametrize("changes", [BY_CLASS, BY_TEXT | {"adaln": True}])
@torch.no_grad()
def test_bfloat16_stays_as_close_as_that_of_the_model(changes: dict[str, object]) -> None:
    model = small_image_model(**changes)
    asked = small_conditions(5, model.config)
    exact = model(small_images(5), TIMES, asked)
    half = small_image_model(**changes).to(torch.bfloat16)
    packed = PackedImageModel(half)
    ours = packed(small_images(5), TIMES, context=packed.read(asked)).float()
    theirs = half(small_images(5), TIMES, asked).float()
    assert (ours - exact).abs().mean() < 1.2 * (theirs - exact).abs().mean() + 1e-3


def test_sampling_is_the_same_from_a_packed_model_and_follows_no_training() -> None:
    model = small_image_model(**BY_CLASS)
    packed = PackedImageModel(model)
    asked = Conditions.of_classes([1, 2])
    before = sample_images(model, asked, seeds=[1, 2], steps=3, guidance=2.0)
    assert torch.equal(sample_images(packed, asked, seeds=[1, 2], steps=3, guidance=2.0), before)
