"""The cache for bfloat16 decoding against the plain one, step by step."""

import dataclasses

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import KeyValueCache, ModelConfig
from vermeil_model.cache import DecodingCache
from vermeil_model.grouped_cache import GroupedCache
from vermeil_model.testing import SMALL

SHAPES = [(4, 4), (4, 2), (6, 1), (24, 12), (14, 7)]


def heads(num_rows: int, num_heads: int, start: int) -> torch.Tensor:
    index = torch.arange(num_rows * num_heads * SMALL.head_width) + 1000 * start
    return torch.sin(index * 0.37).view(num_rows, 1, num_heads, SMALL.head_width).bfloat16().float() * 2


def fill(cache: DecodingCache, config: ModelConfig, lengths: list[int]) -> None:
    for row, length in enumerate(lengths):
        for layer in range(config.depth):
            keys = heads(length, config.num_key_value_heads, row + layer)[:, 0]
            values = heads(length, config.num_key_value_heads, row + layer + 50)[:, 0]
            cache.write(layer, row, 0, keys, values)
        cache.lengths[row] = length


@pytest.mark.parametrize(("num_heads", "num_key_value_heads"), SHAPES)
@pytest.mark.parametrize("lengths", [[5, 5, 5], [3, 9, 1], [7]])
def test_grouped_heads_attend_like_heads_one_by_one(
    num_heads: int, num_key_value_heads: int, lengths: list[int]
) -> None:
    config = dataclasses.replace(SMALL, num_heads=num_heads, num_key_value_heads=num_key_value_heads)
    grouped, plain = GroupedCache(config, 4, 16), KeyValueCache(config, 4, 16)
    for cache in (grouped, plain):
        fill(cache, config, [*lengths, *[2] * (4 - len(lengths))])
        cache.move_row(3, 0)
        cache.lengths[3] = 0
    num_rows = len(lengths)
    for step in range(3):
        attends = [cache.attend_step(num_rows) for cache in (grouped, plain)]
        assert torch.equal(attends[0].positions, attends[1].positions)
        for layer in range(config.depth):
            queries = heads(num_rows, num_heads, 7 + step)
            keys = heads(num_rows, num_key_value_heads, 100 + step + layer)
            values = heads(num_rows, num_key_value_heads, 200 + step + layer)
            found, expected = (attend(queries, keys, values, layer) for attend in attends)
            torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0)
        for cache in (grouped, plain):
            cache.lengths[:num_rows] = [length + 1 for length in cache.lengths[:num_rows]]


def test_a_full_row_takes_no_more_tokens() -> None:
    for cache in (GroupedCache(SMALL, 2, 4), KeyValueCache(SMALL, 2, 4)):
        cache.lengths[:] = [4, 1]
        with pytest.raises(InvalidInput, match="exceed the cache of 4 tokens"):
            cache.attend_step(2)


@pytest.mark.parametrize("length", [0, 49])
def test_a_cache_is_no_longer_than_the_context(length: int) -> None:
    with pytest.raises(InvalidInput, match="Use 1 to 48"):
        KeyValueCache(SMALL, 1, length)


@pytest.mark.parametrize(("num_heads", "num_key_value_heads"), SHAPES)
@pytest.mark.parametrize("kind", [KeyValueCache, GroupedCache])
def test_what_rows_hold_can_be_read_cut_pasted_and_taken_over(
    kind: type[KeyValueCache] | type[GroupedCache], num_heads: int, num_key_value_heads: int
) -> None:
    config = dataclasses.replace(SMALL, num_heads=num_heads, num_key_value_heads=num_key_value_heads)
    cache, grown = kind(config, 3, 16), kind(config, 5, 40)
    fill(cache, config, [5, 9, 3])
    grown.copy_rows(cache, 3)
    assert grown.lengths == [5, 9, 3, 0, 0]
    grown.paste(4, torch.cat([cache.cut(1, 0, 4), cache.cut(1, 4, 6)], dim=-2))
    for layer in range(config.depth):
        for row, source, end in ((0, 0, 5), (1, 1, 9), (2, 2, 3), (4, 1, 6)):
            keys, values = grown.read(layer, row, end)
            length = (5, 9, 3)[source]
            expected = heads(length, num_key_value_heads, source + layer)[:end, 0]
            assert torch.equal(keys.float(), expected)
            assert torch.equal(
                values.float(), heads(length, num_key_value_heads, source + layer + 50)[:end, 0]
            )


@pytest.mark.parametrize("kind", [KeyValueCache, GroupedCache])
def test_a_row_that_is_written_in_parts_holds_what_it_would_at_once(
    kind: type[KeyValueCache] | type[GroupedCache],
) -> None:
    cache = kind(SMALL, 2, 16)
    keys, values = (heads(9, SMALL.num_key_value_heads, start)[:, 0] for start in (1, 2))
    for layer in range(SMALL.depth):
        for start, end in ((0, 4), (4, 5), (5, 9)):
            cache.write(layer, 1, start, keys[start:end], values[start:end])
        for found, expected in zip(cache.read(layer, 1, 9), (keys, values), strict=True):
            assert torch.equal(found.float(), expected)
