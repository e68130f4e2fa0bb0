import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import Conditions, flow_loss
from vermeil_model.flow import LEAST_REMAINING_TIME, add_noise, draw_times, drop_conditions, velocity
from vermeil_model.testing import BY_CLASS, small_conditions, small_image_model, small_images


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_loss_of_the_right_picture_is_zero() -> None:
    images = small_images(8)
    assert flow_loss(lambda noisy, times, asked: images, images, None, seeded()) == 0


def test_the_loss_is_that_of_the_velocity_with_a_floor_below_the_remaining_time() -> None:
    images = small_images(64)
    seen: list[torch.Tensor] = []

    def predict(noisy: torch.Tensor, times: torch.Tensor, asked: Conditions | None) -> torch.Tensor:
        seen.extend((noisy, times))
        return noisy * 0.5

    loss = flow_loss(predict, images, None, seeded(), time_mean=1.0, time_deviation=2.0)
    noisy, times = (tensor.double() for tensor in seen)
    assert times.max() > 1 - LEAST_REMAINING_TIME
    remaining = (1 - times).clamp_min(LEAST_REMAINING_TIME)[:, None, None, None]
    expected = (((noisy * 0.5 - noisy) - (images.double() - noisy)) / remaining).square().mean()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def test_a_prediction_gives_the_velocity_from_noise_to_picture() -> None:
    images, noise = small_images(4).double(), torch.randn(4, 3, 12, 8, generator=seeded()).double()
    for time in (0.0, 0.25, 0.9, 0.999):
        noisy = add_noise(images, noise, torch.full((4,), time, dtype=torch.float64))
        torch.testing.assert_close(velocity(images, noisy, time), images - noise, rtol=1e-9, atol=1e-9)


def test_times_follow_their_distribution_and_their_seed() -> None:
    times = draw_times(4096, seeded(), mean=-0.8, deviation=0.8)
    drawn = torch.logit(times.double())
    assert drawn.mean().item() == pytest.approx(-0.8, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.8, abs=0.01)
    assert times.min() > 0
    assert times.max() < 1
    assert torch.equal(times, draw_times(4096, seeded(), mean=-0.8, deviation=0.8))
    assert abs(torch.corrcoef(torch.stack((times, torch.arange(4096.0))))[0, 1]) < 0.05


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions.of_classes([3] * 4000),
        Conditions(tokens_BL=torch.ones(4000, 2, dtype=torch.long), lengths_B=torch.full((4000,), 2)),
    ],
)
def test_the_asked_share_of_conditions_is_left_out(conditions: Conditions) -> None:
    dropped = drop_conditions(conditions, 0.1, seeded())
    given = dropped.classes_B if dropped.classes_B is not None else dropped.lengths_B
    absent = given == (-1 if dropped.classes_B is not None else 0)
    assert absent.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (drop_conditions(conditions, 0.0, seeded())[0 if dropped.classes_B is not None else 2] > 0).all()
    with pytest.raises(InvalidInput, match="no share"):
        flow_loss(lambda *_: torch.zeros(1), small_images(1), None, seeded(), drop=1.5)


def test_the_loss_is_a_function_of_the_generator_and_leaves_the_global_state_alone() -> None:
    model = small_image_model(**BY_CLASS)
    asked = small_conditions(6, model.config)
    before = torch.get_rng_state()
    losses = [flow_loss(model, small_images(6), asked, seeded(seed)).item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_small_model_learns_two_pictures_by_their_class() -> None:
    model = small_image_model(**BY_CLASS).train()
    images = torch.stack((torch.full((3, 12, 8), -0.7), torch.full((3, 12, 8), 0.7))).repeat(16, 1, 1, 1)
    asked = Conditions(classes_B=torch.tensor([0, 1]).repeat(16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = seeded()
    losses = []
    for _ in range(60):
        loss = flow_loss(model, images, asked, generator)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.1 * sum(losses[:3])
