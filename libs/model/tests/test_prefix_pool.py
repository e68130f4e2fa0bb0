"""Blocks are found by all that stands before them, and those of least use are let go of first."""

from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, full
from vermeil_model.prefix_pool import BLOCK, PrefixPool, name_blocks

TOKENS = list(range(3 * BLOCK + 5))
BLOCK_BYTES = 4


def names(tokens: list[int]) -> list[bytes]:
    return name_blocks([], tokens, len(tokens))


def block(place: int) -> Tensor:
    return full((1,), float(place))


def found(pool: PrefixPool, tokens: list[int]) -> list[float]:
    return [float(each) for each in pool.find(names(tokens))]


def test_only_whole_blocks_have_names_and_a_name_tells_all_before_it() -> None:
    assert len(names(TOKENS)) == 3
    other = [99, *TOKENS[1:]]
    assert not set(names(TOKENS)) & set(names(other))
    assert names(TOKENS)[:2] == names([*TOKENS[: 2 * BLOCK], 77] * 2)[:2]


@given(st.lists(st.integers(0, 200), min_size=1, max_size=8))
def test_names_asked_for_bit_by_bit_are_those_asked_for_at_once(lengths: list[int]) -> None:
    tokens = [7 * place % 61 for place in range(200)]
    known: list[bytes] = []
    for length in lengths:
        assert name_blocks(known, tokens, length) == name_blocks([], tokens, length)


def test_what_begins_alike_is_found_up_to_where_it_differs() -> None:
    pool = PrefixPool(100 * BLOCK_BYTES)
    pool.keep(names(TOKENS), block)
    assert found(pool, TOKENS) == [0, 1, 2]
    assert found(pool, [*TOKENS[: 2 * BLOCK], *[9] * BLOCK]) == [0, 1]
    assert found(pool, [9, *TOKENS[1:]]) == []


def test_the_least_recently_used_go_first_and_of_one_sequence_its_end() -> None:
    pool = PrefixPool(4 * BLOCK_BYTES)
    pool.keep(names(TOKENS), block)
    other = [60 - token for token in TOKENS[: 2 * BLOCK]]
    pool.keep(names(other), block)
    assert found(pool, TOKENS) == [0, 1]
    assert found(pool, other) == [0, 1]
    pool.find(names(TOKENS))
    pool.keep(names([5] * BLOCK), block)
    assert found(pool, TOKENS) == [0, 1]
    assert found(pool, other) == [0]
    assert pool.num_bytes == 4 * BLOCK_BYTES


def test_a_pool_without_room_keeps_nothing() -> None:
    pool = PrefixPool(0)
    pool.keep(names(TOKENS), block)
    assert (found(pool, TOKENS), pool.num_bytes, pool.keeps) == ([], 0, False)
