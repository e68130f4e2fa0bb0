import pytest
import torch
from vermeil_model.rotary import Rotary, rotate
from vermeil_model.testing import SMALL
from vermeil_model.turn import TrainableTurn

EPSILON = 1e-6


def waves(*shape: int) -> torch.Tensor:
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(index * 0.7 + 0.2).reshape(shape)


@pytest.mark.parametrize("positions", [torch.arange(5), torch.arange(10).view(2, 5)])
def test_it_is_norm_weight_and_rotation_with_their_gradients(positions: torch.Tensor) -> None:
    cosine, sine = Rotary(SMALL)(positions, torch.float64)
    heads, weight = waves(2, 5, 3, 8).requires_grad_(), (1 + 0.1 * waves(3, 8)).requires_grad_()

    def composed(heads: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rotate(torch.nn.functional.rms_norm(heads, (8,), None, EPSILON) * weight, cosine, sine)

    ours = TrainableTurn.apply(heads, weight, cosine, sine, EPSILON)
    torch.testing.assert_close(ours, composed(heads, weight), atol=1e-6, rtol=0)
    ours_by = torch.autograd.grad((ours * waves(2, 5, 3, 8)).sum(), (heads, weight))
    expected_by = torch.autograd.grad((composed(heads, weight) * waves(2, 5, 3, 8)).sum(), (heads, weight))
    for got, expected in zip(ours_by, expected_by, strict=True):
        torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=0)


def test_bfloat16_is_as_close_as_its_parts() -> None:
    cosine, sine = Rotary(SMALL)(torch.arange(5), torch.float32)
    heads, weight = waves(2, 5, 3, 8).float(), 1 + 0.1 * waves(3, 8).float()
    exact = TrainableTurn.apply(heads, weight, cosine, sine, EPSILON)
    half = TrainableTurn.apply(heads.bfloat16(), weight, cosine.bfloat16(), sine.bfloat16(), EPSILON)
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).abs().max() < 0.03
