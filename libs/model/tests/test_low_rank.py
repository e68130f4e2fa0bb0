import copy
from pathlib import Path

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import (
    FUSIONS,
    FusedConfig,
    FusedModel,
    TextModel,
    fuse,
    fused_config,
    fused_losses,
    load_any_checkpoint,
    load_checkpoint,
    make_fused,
    read_config,
    save_checkpoint,
)
from vermeil_model.fusions.low_rank import LowRank, split
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

ROWS = [[[[1, 7], GIVEN, [9, 4, 30]], [[1, 20], DRAWN]], [[[1, 5, 6], DRAWN, [9, 2, 11]]]]
INPUTS = lay_out(ROWS, 10, 3)
IMAGES = small_images(6).unflatten(0, (2, 3))
TIMES = torch.tensor([[0.3, 0.9, 0.1], [0.5, 0.2, 0.7]])
RANKS: tuple[dict[str, object], ...] = (
    {},
    {"attention": 0, "feed_forward": 0},
    {"attention": 5, "feed_forward": "full"},
)


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0)


def same(first: FusedModel, second: FusedModel, tolerance: float = 1e-5) -> None:
    ours, theirs = first(INPUTS, IMAGES, TIMES), second(INPUTS, IMAGES, TIMES)
    close(ours.hidden_BTD, theirs.hidden_BTD, tolerance)
    close(ours.predicted_BMCHW, theirs.predicted_BMCHW, tolerance)


def total(model: FusedModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return fused_losses(model, INPUTS, IMAGES, generator, num_tasks=2).total()


@pytest.mark.parametrize(
    "ranks", [{"attention": "full", "feed_forward": "full"}, {"attention": 12, "feed_forward": 12}]
)
@torch.no_grad()
def test_towers_of_full_rank_are_untied_ones(ranks: dict[str, object]) -> None:
    same(small_fused("low_rank", **ranks), small_fused("mot"), 1e-4)


@pytest.mark.parametrize("ranks", RANKS)
@torch.no_grad()
def test_merged_for_good_the_model_stays_what_it_was(ranks: dict[str, object]) -> None:
    model = small_fused("low_rank", **ranks)
    assert isinstance(model, LowRank)
    same(model.untied(), model)


def test_two_matrices_are_told_apart_by_twice_the_rank() -> None:
    first, second = (torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(3))).unbind()
    errors = []
    for rank in (0, 2, 5, 8, 11):
        base, ours, theirs = split(first, second, rank)
        assert ours.wide_OR.shape == (20, rank)
        assert theirs.narrow_RI.shape == (rank, 16)
        difference = ours.wide_OR @ ours.narrow_RI - theirs.wide_OR @ theirs.narrow_RI
        errors.append(float((first - second - difference).norm()))
        tail = torch.linalg.svdvals(first - second)[2 * rank :].norm()
        torch.testing.assert_close((first - second - difference).norm(), tail, atol=1e-4, rtol=0)
        close(base + ours.wide_OR @ ours.narrow_RI + base + theirs.wide_OR @ theirs.narrow_RI, first + second)
    assert errors == sorted(errors, reverse=True)


def test_low_rank_has_fewer_weights_than_untied_and_more_than_dense() -> None:
    def count(fusion: str, **options: object) -> int:
        return sum(weight.numel() for weight in small_fused(fusion, **options).parameters())

    few = [
        count("dense"),
        count("low_rank", attention=0, feed_forward=0),
        count("low_rank", attention=2, feed_forward=2),
    ]
    assert [*few, count("mot")] == sorted([*few, count("mot")])
    assert few[1] > few[0]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fresh_models_of_every_fusion_learn(fusion: str) -> None:
    fused = small_fused(fusion)
    model = make_fused(fused.config)
    first = total(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        optimizer.zero_grad()
        total(model).backward()
        optimizer.step()
    assert total(model) < 0.9 * first
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_a_checkpoint_gives_the_same_model_back(fusion: str, tmp_path: Path) -> None:
    model = small_fused(fusion)
    save_checkpoint(tmp_path, model, extra={"bos_token_id": 1})
    again = load_checkpoint(tmp_path, FusedModel)
    assert type(again) is type(model)
    assert again.config == model.config == read_config(tmp_path, FusedModel)
    assert again.state_dict().keys() == model.state_dict().keys()
    same(again, model, 0)
    same(load_any_checkpoint(tmp_path), copy.deepcopy(model), 0)
    with pytest.raises(InvalidInput, match="vermeil-fused"):
        load_checkpoint(tmp_path, TextModel)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_config_survives_the_way_through_json(fusion: str) -> None:
    config = small_fused(fusion).config
    assert FusedConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InvalidInput, match="width_of_nothing"):
        FusedConfig.from_dict(config.to_dict() | {"width_of_nothing": 1})


@pytest.mark.parametrize(
    ("fusion", "options", "changes", "field"),
    [
        ("low_rank", {"attention": -1}, {}, "options.attention"),
        ("low_rank", {"attention": "half"}, {}, "options.attention"),
        ("low_rank", {"feed_forward": 24}, {}, "options.feed_forward"),
        ("low_rank", {"rank": 2}, {}, "options.rank"),
        ("low_rank", {}, {"width": 32}, "image.width"),
        ("low_rank", {"attention": "full"}, {"width": 32}, "image.width"),
        ("low_rank", {}, {"feed_forward_width": 32}, "image.feed_forward_width"),
        ("dense", {}, {"width": 32}, "image.width"),
        ("dense", {"rank": 1}, {}, "options.rank"),
        ("mot", {"rank": 1}, {}, "options.rank"),
    ],
)
def test_what_cannot_be_shared_is_refused_by_field(
    fusion: str, options: dict[str, object], changes: dict[str, object], field: str
) -> None:
    text, image = small_model(), small_image_model(**BY_CLASS | changes)
    with pytest.raises(InvalidInput) as refusal:
        fuse(text, image, fused_config(text, image, fusion, options))
    assert refusal.value.field == field
    assert refusal.value.fix


@torch.no_grad()
def test_dense_towers_are_the_same_one() -> None:
    model = copy.deepcopy(small_fused("dense"))
    assert model.image.layers is model.text.layers
    assert not any(name.startswith("image.layers") for name in model.state_dict())
