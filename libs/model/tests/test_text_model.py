import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import KeyValueCache, ModelConfig, TextModel, count_parameters, flops_per_token
from vermeil_model.testing import SMALL, small_model, small_tokens

VARIANTS = (
    {},
    {"qk_norm": False},
    {"tie_embeddings": False},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": 1, "qk_norm": False},
)


@pytest.fixture
def model() -> TextModel:
    """Grouped heads, QK-norm, tied embeddings."""
    return small_model()


def close(ours: torch.Tensor | None, expected: torch.Tensor | None, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("changes", VARIANTS)
@torch.no_grad()
def test_a_token_never_sees_what_comes_after_it(changes: dict[str, object]) -> None:
    model = small_model(**changes)
    tokens = small_tokens(2, 20)
    changed = tokens.clone()
    changed[:, 12:] = 5
    close(model(changed).logits[:, :12], model(tokens).logits[:, :12], 1e-6)
    assert not torch.allclose(model(changed).logits[:, 12:], model(tokens).logits[:, 12:], atol=1e-2)


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("pieces", [(20,), (1,) * 20, (7, 1, 1, 5, 6)])
@torch.no_grad()
def test_reading_through_a_cache_gives_the_same_logits(
    changes: dict[str, object], pieces: tuple[int, ...]
) -> None:
    model = small_model(**changes)
    tokens = small_tokens(3, 20)
    cache = KeyValueCache(model.config, num_rows=3)
    cached = [model(piece, cache=cache).logits for piece in tokens.split(pieces, dim=1)]
    close(torch.cat(cached, dim=1), model(tokens).logits)


@torch.no_grad()
def test_rows_of_different_lengths_share_a_cache(model: TextModel) -> None:
    lengths = (5, 11, 2)
    tokens = small_tokens(3, 20)
    cache = KeyValueCache(model.config, num_rows=3)
    model(tokens[:, :11], cache=cache)
    cache.lengths = list(lengths)
    rest = torch.stack([row[length : length + 6] for row, length in zip(tokens, lengths, strict=True)])
    steps = [model(rest[:, :4], cache=cache).logits]
    steps += [model(rest[:, step : step + 1], cache=cache).logits for step in (4, 5)]
    continued = torch.cat(steps, dim=1)
    for row, length in enumerate(lengths):
        expected = model(tokens[row : row + 1, : length + 6]).logits[0, length:]
        close(continued[row], expected)


@torch.no_grad()
def test_padding_never_changes_the_answer(model: TextModel) -> None:
    tokens = small_tokens(1, 9)
    padded = torch.cat((tokens, torch.zeros(1, 6, dtype=torch.long)), dim=1)
    close(model(padded).logits[:, :9], model(tokens).logits)


@torch.no_grad()
def test_packed_documents_never_see_each_other(model: TextModel) -> None:
    first, second = small_tokens(1, 8), small_tokens(1, 13, start=100)
    packed = torch.cat((first, second), dim=1)
    documents = torch.tensor([[3] * 8 + [7] * 13])
    logits = model(packed, documents_BT=documents).logits
    close(logits[:, :8], model(first).logits)
    close(logits[:, 8:], model(second).logits)


@torch.no_grad()
def test_text_positions_shifted_together_change_nothing(model: TextModel) -> None:
    tokens = small_tokens(2, 10)
    shifted = model(tokens, positions=torch.arange(10) + 17).logits
    close(shifted, model(tokens).logits)


@torch.no_grad()
def test_equal_ids_on_three_axes_are_plain_rotary_positions(model: TextModel) -> None:
    tokens = small_tokens(2, 10)
    positions = torch.arange(10).expand(3, 2, 10)
    close(model(tokens, positions=positions).logits, model(tokens).logits, 0)
    other = positions.clone()
    other[2] = 0
    assert not torch.allclose(model(tokens, positions=other).logits, model(tokens).logits, atol=1e-3)


def test_the_loss_is_the_mean_over_counted_targets(model: TextModel) -> None:
    tokens, targets = small_tokens(2, 10), small_tokens(2, 10, start=1)
    targets[0, :4] = -100
    logits = model(tokens).logits
    expected = torch.nn.functional.cross_entropy(logits[0, 4:], targets[0, 4:], reduction="sum")
    expected += torch.nn.functional.cross_entropy(logits[1], targets[1], reduction="sum")
    close(model(tokens, targets_BT=targets).loss, expected / 16)


def test_weights_depend_on_the_generator_and_nothing_else() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = TextModel(SMALL)
    first.init_weights(torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = TextModel(SMALL).to(torch.bfloat16)
    second.init_weights(torch.Generator().manual_seed(5))
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours.to(torch.bfloat16), theirs)


def test_going_to_bfloat16_and_back_keeps_the_rotary_table_exact(model: TextModel) -> None:
    table = model.rotary.table.clone()
    assert torch.equal(model.to(torch.bfloat16).to(torch.float32).rotary.table, table)


def test_a_sequence_longer_than_the_context_is_refused(model: TextModel) -> None:
    with pytest.raises(InvalidInput, match="exceed the context of 48 tokens"):
        model(small_tokens(1, 49))
    with pytest.raises(InvalidInput, match="exceed the cache of 8 tokens"):
        model(small_tokens(1, 9), cache=KeyValueCache(model.config, 1, length=8))


@pytest.mark.parametrize("changes", VARIANTS)
def test_parameters_are_counted_without_building_the_model(changes: dict[str, object]) -> None:
    model = small_model(**changes)
    assert count_parameters(model.config).total == sum(p.numel() for p in model.parameters())


def test_operations_per_token_follow_the_products() -> None:
    config = ModelConfig.from_depth(6, 256, context_length=256, qk_norm=False)
    products = count_parameters(config).layers - 13 * 384 + 256 * 384
    attention = 6 * 2 * 2 * 384 * 257 / 2
    assert flops_per_token(config, 256, training=False) == pytest.approx(2 * products + attention)
    assert flops_per_token(config, 256) == pytest.approx(3 * flops_per_token(config, 256, training=False))
