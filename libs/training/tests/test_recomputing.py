"""Activation checkpointing of models of several towers: the same numbers from fewer kept ones."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from vermeil_model import FUSIONS, fused_losses
from vermeil_model.testing import DRAWN, GIVEN, lay_out, small_fused, small_images
from vermeil_training import TrainingConfig, make_state
from vermeil_training.config import RunConfig

ROWS = [[[[1, 7], GIVEN, [9, 4, 30]], [[1, 20], DRAWN]], [[[1, 5, 6], DRAWN, [9, 2, 11]]]]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_fused_model_learns_the_same_from_fewer_kept_numbers(fusion: str) -> None:
    found = []
    for recompute in (False, True):
        run = RunConfig(steps=1, ema_decay=0.0, activation_checkpointing=recompute)
        state = make_state(TrainingConfig(run=run), small_fused(fusion))
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            losses = fused_losses(
                state.model,  # type: ignore[arg-type]
                lay_out(ROWS, 10, 3),
                small_images(6).unflatten(0, (2, 3)),
                torch.Generator().manual_seed(0),
                num_tasks=2,
            )
        losses.total().backward()
        of_weights = {weight.untyped_storage().data_ptr() for weight in state.parameters}
        num_bytes = sum(size for place, size in kept.items() if place not in of_weights)
        found.append((losses.total().detach(), num_bytes, [weight.grad for weight in state.parameters]))
    plain, frugal = found
    assert plain[0].equal(frugal[0])
    assert frugal[1] < 0.7 * plain[1]
    for ours, expected in zip(frugal[2], plain[2], strict=True):
        assert (ours is None) == (expected is None)
        if ours is not None and expected is not None:
            torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
