import pytest
import torch
from vermeil_model import linear as module
from vermeil_model.linear import linear


def waves(*shape: int) -> torch.Tensor:
    return (
        torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.7).reshape(shape).float()
    )


@pytest.mark.parametrize("shape", [(3, 70, 96), (300, 96), (1, 1, 96)])
def test_products_and_their_gradients_are_those_of_float64(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_WORK", 1)
    x, weight = waves(*shape).requires_grad_(), (waves(64, 96) * 0.1).requires_grad_()
    exact_x, exact_weight = (t.detach().double().requires_grad_() for t in (x, weight))
    ours, exact = linear(x, weight), exact_x @ exact_weight.t()
    (ours * waves(*ours.shape)).sum().backward()
    (exact * waves(*ours.shape)).sum().backward()
    for got, expected in ((ours, exact), (x.grad, exact_x.grad), (weight.grad, exact_weight.grad)):
        assert got is not None
        assert expected is not None
        torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-5)


def test_a_frozen_weight_or_input_gets_no_gradient() -> None:
    x, weight = waves(400, 96).requires_grad_(), waves(64, 96)
    linear(x, weight).sum().backward()
    assert x.grad is not None
    x, weight = waves(400, 96), weight.requires_grad_()
    linear(x, weight).sum().backward()
    assert weight.grad is not None


def test_other_dtypes_and_autocast_go_pytorchs_own_way() -> None:
    x, weight = waves(400, 96), waves(64, 96)
    assert linear(x.bfloat16(), weight.bfloat16()).dtype == torch.bfloat16
    assert linear(x.double(), weight.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
