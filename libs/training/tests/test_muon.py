"""Muon moves matrices as torch.optim.Muon does."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from vermeil_training import Muon, muon


def wave(*shape: int, phase: float = 0.0) -> Tensor:
    count = torch.Size(shape).numel()
    return (
        torch.sin(torch.arange(count, dtype=torch.float32) * 0.37 + phase).reshape(shape) / shape[-1] ** 0.5
    )


def weights() -> list[nn.Parameter]:
    shapes = [(16, 16), (48, 16), (16, 40), (16, 16), (16, 40)]
    return [nn.Parameter(wave(*shape, phase=number)) for number, shape in enumerate(shapes)]


def move(step: Callable[[], object], parameters: list[nn.Parameter], steps: int = 4) -> None:
    for moment in range(steps):
        for number, parameter in enumerate(parameters):
            parameter.grad = wave(*parameter.shape, phase=moment + number / 3)
        step()


@pytest.fixture
def _in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch does always."""
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda *_: True)


@pytest.mark.usefixtures("_in_bf16")
@pytest.mark.parametrize("elements", [1, 600, 1 << 30])
def test_the_update_is_that_of_torch_whatever_is_batched(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "CPU_BATCH_ELEMENTS", elements)
    ours, theirs = weights(), weights()
    muon_of_ours = Muon(ours, learning_rate=0.04, weight_decay=0.1)
    move(lambda: muon_of_ours.step(0.5), ours)
    move(torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1).step, theirs)
    for mine, reference, start in zip(ours, theirs, weights(), strict=True):
        change = float((reference - start).detach().abs().max())
        # Orthogonalisation is in bf16: 8 bits.
        torch.testing.assert_close(mine, reference, atol=0.02 * change, rtol=0)


def test_a_fused_matrix_moves_as_its_parts_would() -> None:
    fused = [nn.Parameter(wave(48, 16))]
    parts = [nn.Parameter(part.clone()) for part in wave(48, 16).split([16, 24, 8])]
    whole = Muon(fused, learning_rate=0.02, pieces={fused[0]: (16, 24, 8)})
    apart = Muon(parts, learning_rate=0.02)
    for step in range(3):
        fused[0].grad = wave(48, 16, phase=step)
        for part, gradient in zip(parts, fused[0].grad.split([16, 24, 8]), strict=True):
            part.grad = gradient.clone()
        whole.step(1.0)
        apart.step(1.0)
    assert torch.equal(fused[0], torch.cat(list(parts)))


@pytest.mark.parametrize("in_bf16", [True, False])
def test_singular_values_are_drawn_towards_one(in_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "multiplies_bfloat16", lambda *_: in_bf16)
    matrices = torch.stack([wave(24, 24, phase=number) + 0.1 * torch.eye(24) for number in range(3)])
    values = torch.linalg.svdvals(muon.orthogonalised(matrices).float())
    assert values.median() > 0.6
    assert values.max() < 1.3


def test_a_matrix_without_gradient_stays() -> None:
    (still,) = [nn.Parameter(wave(8, 8))]
    Muon([still], learning_rate=0.02).step(1.0)
    assert torch.equal(still, wave(8, 8))
