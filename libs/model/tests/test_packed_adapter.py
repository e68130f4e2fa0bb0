import itertools

import pytest
import torch
from vermeil_model import PackedModel, merged
from vermeil_model.adapter import ALL_TARGETS
from vermeil_model.attention import CausalAttention
from vermeil_model.packed_adapter import AdapterStack, PackedAdapter, RowAdapters, row_adapters
from vermeil_model.testing import small_adapter, small_model, small_tokens

ADAPTERS = (
    small_adapter(1),
    small_adapter(2, rank=5, alpha=3.0),
    small_adapter(3, targets=("q_proj", "v_proj")),
    small_adapter(4, targets=("k_proj", "down_proj"), rank=1),
)
NUM_TOKENS = 7


def hidden(model: PackedModel, tokens: torch.Tensor, added: RowAdapters | None = None) -> torch.Tensor:
    attend = CausalAttention(None, torch.float32)
    positions = torch.arange(tokens.shape[1])
    return model.hidden(tokens, positions, attend, added).view(*tokens.shape, -1)


@pytest.mark.parametrize("qk_norm", [True, False])
@torch.inference_mode()
def test_every_row_gets_what_the_merged_weights_give_in_any_company(qk_norm: bool) -> None:
    base = small_model(qk_norm=qk_norm)
    packed = PackedModel(base)
    adapters = [PackedAdapter(each, packed) for each in ADAPTERS]
    alone = [PackedModel(merged(base, each)) for each in ADAPTERS]
    tokens_BT = small_tokens(6, NUM_TOKENS)
    for company in ((0,), (0, 1, 2, 3, None, 0), (None, 2), (3, 1), (2, 2, None), (1, 1)):
        rows = [None if each is None else adapters[each] for each in company]
        stack = AdapterStack(list(dict.fromkeys(each for each in rows if each is not None)))
        per_token = list(itertools.chain.from_iterable([each] * NUM_TOKENS for each in rows))
        found = hidden(packed, tokens_BT[: len(rows)], RowAdapters(stack, per_token))
        for row, each in enumerate(company):
            model = packed if each is None else alone[each]
            torch.testing.assert_close(found[row : row + 1], hidden(model, tokens_BT[row : row + 1]))


@torch.inference_mode()
def test_a_stack_may_hold_adapters_that_no_row_uses() -> None:
    packed = PackedModel(small_model())
    first, second = (PackedAdapter(each, packed) for each in ADAPTERS[:2])
    tokens_BT = small_tokens(1, NUM_TOKENS)
    stack = AdapterStack([first, second])
    found = hidden(packed, tokens_BT, RowAdapters(stack, [second] * NUM_TOKENS))
    expected = hidden(packed, tokens_BT, RowAdapters(AdapterStack([second]), [second] * NUM_TOKENS))
    torch.testing.assert_close(found, expected)


def test_a_stack_serves_its_adapters_unless_most_of_them_left() -> None:
    packed = PackedModel(small_model())
    adapters = [PackedAdapter(each, packed) for each in ADAPTERS]
    stack = AdapterStack(adapters[:3])
    assert stack.serves(adapters[:3])
    assert stack.serves(adapters[1:3])
    assert not stack.serves(adapters[1:2])
    assert not stack.serves(adapters[2:])


def test_rows_of_the_base_alone_need_nothing_and_a_stack_is_used_again() -> None:
    packed = PackedModel(small_model())
    first, second = (PackedAdapter(each, packed) for each in ADAPTERS[:2])
    assert row_adapters([None, None]) is None
    both = row_adapters([first, None, second])
    assert both is not None
    fewer = row_adapters([second], both)
    assert fewer is not None
    assert fewer.stack is both.stack


def test_an_adapter_counts_its_bytes_and_is_known_by_its_key() -> None:
    packed = PackedModel(small_model())
    first, again = (PackedAdapter(ADAPTERS[0], packed) for _ in range(2))
    assert first.num_bytes == 4 * ADAPTERS[0].num_parameters
    assert first.key != again.key
    assert set(first.targets) == set(ALL_TARGETS)


@torch.inference_mode()
def test_half_precision_stays_near() -> None:
    base = small_model()
    packed = PackedModel(small_model().bfloat16())
    adapter = PackedAdapter(ADAPTERS[0], packed)
    tokens_BT = small_tokens(1, NUM_TOKENS)
    found = hidden(packed, tokens_BT, RowAdapters(AdapterStack([adapter]), [adapter] * NUM_TOKENS)).float()
    expected = hidden(PackedModel(merged(base, ADAPTERS[0])), tokens_BT)
    assert (found - expected).norm() < 0.05 * expected.norm()
