import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model.flow import LEAST_REMAINING_TIME, TIME_DEVIATION, TIME_MEAN, add_noise
from vermeil_model.fused_losses import LENGTH_POWER, draw_slot_times, fused_losses, importance, loss_weights
from vermeil_model.testing import DRAWN, GIVEN, lay_out, small_fused, small_images

ROWS = [[[[1, 7], GIVEN, [9, 4, 30]], [[1, 20], DRAWN]], [[[1, 5, 6], DRAWN, [9, 2, 11]]]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_losses_are_those_of_learned_tokens_and_drawn_pictures() -> None:
    model, inputs = small_fused(), lay_out(ROWS, 10, 3)
    images = small_images(6).unflatten(0, (2, 3))
    losses = fused_losses(model, inputs, images, generator(), drop=0.0, num_tasks=2)
    draws = generator()
    times = draw_slot_times(inputs.picture_noisy_BM, draws)
    noise = torch.randn(images.shape, generator=draws)
    noisy = inputs.picture_noisy_BM
    shown = images.clone()
    shown[noisy] = add_noise(images[noisy], noise[noisy], times[noisy])
    output = model(inputs, shown, times)
    velocity = (1 - times[noisy]).clamp_min(LEAST_REMAINING_TIME)[:, None, None, None]
    squares = ((output.predicted_BMCHW - images)[noisy] / velocity).square().mean((1, 2, 3))
    torch.testing.assert_close(losses.flow, squares.mean())
    logprobs = model.text.readout(output.hidden_BTD).log_softmax(-1)
    learned = inputs.targets_BT >= 0
    each = -logprobs.gather(2, inputs.targets_BT.clamp_min(0)[..., None])[..., 0]
    samples = [
        each[row, learned[row] & (inputs.text_sample_BT[row] == sample)]
        for row, sample in ((0, 0), (0, 1), (1, 0))
    ]
    assert [len(sample) for sample in samples] == [4, 1, 5]
    weighed = sum(sample.mean() * len(sample) ** LENGTH_POWER for sample in samples)
    torch.testing.assert_close(losses.text, weighed / sum(len(sample) ** LENGTH_POWER for sample in samples))
    tasks = losses.tasks
    assert tasks.num_tokens.tolist() == [9, 1]
    assert tasks.num_pictures.tolist() == [1, 1]
    torch.testing.assert_close(tasks.text.sum(), each[learned].sum().detach())
    torch.testing.assert_close(tasks.flow.flip(0), squares.detach())
    torch.testing.assert_close(losses.total(2.0), losses.text + 2 * losses.flow)


def test_every_answer_of_a_conversation_counts_as_it_would_alone() -> None:
    inputs = lay_out(ROWS, 10, 3)
    targets = torch.full_like(inputs.targets_BT, -100)
    targets[0, [1, 4, 5, 6, 7]] = 3
    samples = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1]).expand_as(targets)
    found = importance(inputs._replace(targets_BT=targets, text_sample_BT=samples))
    alone = 1.0, 3 ** (LENGTH_POWER - 1), 1.0
    assert found[0, [1, 4, 6, 7]].tolist() == pytest.approx([alone[0], alone[1], alone[1], alone[2]])


def test_rows_by_themselves_make_the_loss_of_all_by_how_much_is_learned_from_them() -> None:
    model, inputs = small_fused(), lay_out(ROWS, 10, 3)
    images = small_images(6).unflatten(0, (2, 3))
    whole = fused_losses(model, inputs, images, generator(), drop=0.0, num_tasks=2).text
    rows = [type(inputs)(*(part[row : row + 1] for part in inputs)) for row in range(2)]
    alone = [
        fused_losses(model, row, image[None], generator(), drop=0.0, num_tasks=2).text
        for row, image in zip(rows, images, strict=True)
    ]
    weights = torch.stack([loss_weights(row) for row in rows])
    torch.testing.assert_close((torch.stack(alone) * weights[:, 0]).sum() / weights[:, 0].sum(), whole)
    torch.testing.assert_close(weights.sum(0), loss_weights(inputs))
    assert weights[:, 1].tolist() == [1, 1]


def test_the_generator_alone_decides_the_losses() -> None:
    model, inputs = small_fused(), lay_out(ROWS, 10, 3)
    images = small_images(6).unflatten(0, (2, 3))
    first, again, other = (
        fused_losses(model, inputs, images, generator(seed), drop=0.5, num_tasks=2).total()
        for seed in (0, 0, 1)
    )
    assert first.equal(again)
    assert not first.equal(other)


def test_rows_without_anything_to_learn_cost_nothing() -> None:
    model, inputs = small_fused(), lay_out([[[[1]]]], 2, 1)
    losses = fused_losses(model, inputs, small_images(1)[None], generator())
    assert losses.total() == 0
    losses.total().backward()


def test_times_of_noisy_slots_are_spread_evenly() -> None:
    noisy = torch.zeros(20, 50, dtype=torch.bool)
    noisy[:, ::5] = True
    times = draw_slot_times(noisy, generator())
    assert (times[~noisy] == 1).all()
    normal = (torch.logit(times[noisy].double()) - TIME_MEAN) / TIME_DEVIATION
    slices = 200 * torch.special.ndtr(normal).sort().values
    assert (slices - (torch.arange(200) + 0.5)).abs().max() < 0.501  # times are rounded to float32


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="drop"):
        fused_losses(small_fused(), lay_out(ROWS, 10, 3), torch.zeros(2, 3, 3, 12, 8), generator(), drop=2)
