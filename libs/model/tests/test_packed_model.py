import pytest
import torch
from vermeil_model import KeyValueCache, PackedModel
from vermeil_model.attention import CausalAttention
from vermeil_model.cache import CachedAttention
from vermeil_model.packed_matrix import PackedMatrix, PlainMatrix, pack
from vermeil_model.testing import small_model, small_tokens


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_rows", [1, 5, 40])
@pytest.mark.parametrize("make", [PlainMatrix, pack], ids=["plain", "packed"])
def test_every_form_of_a_matrix_multiplies_alike(
    make: type[PlainMatrix], num_rows: int, dtype: torch.dtype
) -> None:
    weight = torch.sin(torch.arange(48 * 32.0)).reshape(48, 32).to(dtype)
    x = torch.cos(torch.arange(num_rows * 32.0)).reshape(num_rows, 32).to(dtype)
    other = torch.sin(torch.arange(num_rows * 48.0) * 0.3).reshape(num_rows, 48).to(dtype)
    matrix: PackedMatrix = make(weight)
    product = x.double() @ weight.double().T
    silu = product / (1 + (-product).exp())
    expected = (product, other + product, silu, other * product)
    ours = (matrix.apply(x), matrix.add(x, other), matrix.gate(x), matrix.multiply(x, other))
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    for found, wanted in zip(ours, expected, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("changes", [{}, {"qk_norm": False}, {"tie_embeddings": False}])
@torch.no_grad()
def test_a_packed_model_gives_the_logits_of_the_model(changes: dict[str, object]) -> None:
    model = small_model(**changes)
    packed = PackedModel(model)
    tokens = small_tokens(3, 10)
    hidden = packed.hidden(tokens, torch.arange(10), CausalAttention())
    expected = model(tokens).logits
    assert expected is not None
    torch.testing.assert_close(packed.readout(hidden).view(3, 10, -1), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_packed_model_in_bfloat16_stays_near_the_model_in_float32() -> None:
    model = small_model()
    packed = PackedModel(small_model().to(torch.bfloat16))
    tokens = small_tokens(4, 12)
    cache = KeyValueCache(model.config, 4)
    logits = []
    for step in range(12):
        attend = CachedAttention(cache, 1)
        hidden = packed.hidden(tokens[:, step : step + 1], attend.positions, attend)
        logits.append(packed.readout(hidden))
        cache.lengths = [step + 1] * 4
    expected = model(tokens).logits
    assert expected is not None
    assert (torch.stack(logits, 1) - expected).abs().max() < 0.03 * expected.std() + 0.05
