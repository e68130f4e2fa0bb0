"""What training may rely on when it reads batches."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vermeil_data import Batch, EncodedDataset, Loader, LoaderState, TokenArrays, TokenizerSpec
from vermeil_data.loader import Mode
from vermeil_data.testing import documents, encoded_texts
from vermeil_data.windows import IGNORED, PackedWindows, RandomWindows
from vermeil_errors import Conflict, InvalidInput, NotFound

MODES: tuple[Mode, ...] = ("random", "packed")
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> EncodedDataset:
    folder = tmp_path_factory.mktemp("words")
    return encoded_texts(folder, {"train": documents(100)}, TokenizerSpec("byte"))


def take(loader: Loader, count: int) -> list[Batch]:
    return list(islice(loader, count))


def rows(batches: list[Batch]) -> list[list[int]]:
    return [row for batch in batches for row in batch.tokens_BT.tolist()]


@every_mode
def test_batches_are_contiguous_int64_of_static_shape(words: EncodedDataset, mode: Mode) -> None:
    loader = Loader(words, "train", 16, 4, seed=0, mode=mode)
    for batch in take(loader, 3 * loader.batches_per_epoch):
        for tensor in batch:
            if tensor is not None:
                assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == ((4, 16), torch.int64, True)
        assert (batch.documents_BT is None) == (mode == "random")


@every_mode
def test_targets_are_the_next_tokens(words: EncodedDataset, mode: Mode) -> None:
    for batch in take(Loader(words, "train", 16, 4, seed=0, mode=mode), 50):
        shifted, targets = batch.tokens_BT[:, 1:], batch.targets_BT[:, :-1]
        learned = targets != IGNORED
        assert torch.equal(shifted[learned], targets[learned])


@every_mode
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(
    words: EncodedDataset, mode: Mode
) -> None:
    one, same, other = (rows(take(Loader(words, "train", 16, 4, seed, mode=mode), 20)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@every_mode
@pytest.mark.parametrize("after", [0, 1, 37, 400])
def test_a_restored_loader_goes_on_exactly(words: EncodedDataset, mode: Mode, after: int) -> None:
    loader = Loader(words, "train", 16, 4, seed=3, mode=mode)
    take(loader, after)
    state = json.loads(json.dumps(loader.state().to_dict()))
    resumed = Loader(words, "train", 16, 4, seed=3, mode=mode)
    take(resumed, 5)
    resumed.restore(LoaderState.from_dict(state))
    assert rows(take(resumed, 30)) == rows(take(loader, 30))
    assert resumed.state() == loader.state()


@every_mode
def test_ranks_together_read_what_one_would_read(words: EncodedDataset, mode: Mode) -> None:
    alone = take(Loader(words, "train", 16, 6, seed=0, mode=mode), 40)
    ranks = [take(Loader(words, "train", 16, 2, 0, rank, 3, mode), 40) for rank in range(3)]
    for step, batch in enumerate(alone):
        together = torch.cat([batches[step].tokens_BT for batches in ranks])
        assert torch.equal(together, batch.tokens_BT)


def test_packed_reading_learns_every_token_exactly_once_an_epoch(words: EncodedDataset) -> None:
    loader = Loader(words, "train", 16, 1, seed=0, mode="packed")
    ids, offsets = words.tokens("train")
    for _ in range(3):
        learned = Counter[int]()
        for batch in take(loader, loader.windows_per_epoch):
            learned.update(batch.targets_BT[batch.targets_BT != IGNORED].tolist())
        assert learned == Counter(ids.tolist())
    assert loader.windows_per_epoch == -(-len(ids) // 16)
    assert len(offsets) == 101


def test_packed_epochs_come_in_different_orders(words: EncodedDataset) -> None:
    loader = Loader(words, "train", 16, 1, seed=0, mode="packed")
    epochs = [rows(take(loader, loader.windows_per_epoch)) for _ in range(2)]
    assert epochs[0] != epochs[1]


def test_documents_tell_which_tokens_belong_together(words: EncodedDataset) -> None:
    tokenizer = words.tokenizer
    known = {text.strip() for text in documents(100)}
    found = set()
    for batch in take(Loader(words, "train", 512, 4, seed=0, mode="packed"), 20):
        assert batch.documents_BT is not None
        for tokens, of_row in zip(batch.tokens_BT, batch.documents_BT, strict=True):
            borders = (of_row[1:] != of_row[:-1]).nonzero().flatten() + 1
            assert (tokens[borders] == tokenizer.bos_id).all()
            inner = torch.tensor_split(tokens, borders)[1:-1]
            found |= {tokenizer.decode(part.tolist()).strip() for part in inner}
    assert found <= known
    assert len(found) > 90


def test_random_windows_reach_every_place_about_equally() -> None:
    arrays = TokenArrays(np.arange(1000, dtype=np.uint16), np.array([0, 1000]))
    windows = RandomWindows(arrays, 64, seed=0).read(np.arange(50_000))
    starts = np.bincount(windows.tokens_RT[:, 0], minlength=1000)
    assert not starts[936:].any()
    assert starts[:936].min() > 25
    assert starts.max() < 90


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 1),
    context_length=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_packing_is_right_for_documents_of_any_lengths(
    lengths: list[int], context_length: int, seed: int
) -> None:
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    ids = np.arange(offsets[-1], dtype=np.uint32)
    source = PackedWindows(TokenArrays(ids, offsets), context_length, seed)
    windows = source.read(np.arange(2 * source.num_windows))
    assert windows.documents_RT is not None
    for epoch in (slice(0, source.num_windows), slice(source.num_windows, None)):
        targets = windows.targets_RT[epoch]
        assert sorted(targets[targets != IGNORED]) == ids.tolist()
    owner = np.repeat(np.arange(len(lengths)), lengths)
    assert np.array_equal(owner[windows.tokens_RT], windows.documents_RT)
    goes_on = windows.targets_RT == windows.tokens_RT + 1
    begins_another = np.isin(windows.targets_RT, offsets[:-1])
    assert (goes_on | begins_another | (windows.targets_RT == IGNORED)).all()


@pytest.mark.parametrize("name", ["split", "mode", "seed", "context_length", "num_tokens"])
def test_a_state_of_other_data_or_settings_is_refused(words: EncodedDataset, name: str) -> None:
    loader = Loader(words, "train", 16, 4, seed=0)
    state = loader.state().to_dict() | {name: 7}
    with pytest.raises(Conflict, match=f"the checkpoint's loader had {name} 7"):
        loader.restore(LoaderState.from_dict(state))


def test_something_else_is_not_taken_for_a_state() -> None:
    with pytest.raises(InvalidInput, match="not the state of a loader"):
        LoaderState.from_dict({"step": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context_length": 10_000}, "context_length = 10000: does not fit into the"),
        ({"context_length": 0}, "context_length = 0"),
        ({"batch_size": 0}, "batch_size = 0: must be at least 1"),
        ({"rank": 2, "world_size": 2}, "rank = 2: must be 0 to 1"),
        ({"mode": "sorted"}, "mode = 'sorted': is unknown; choose random or packed"),
    ],
)
def test_an_impossible_loader_is_refused(
    words: EncodedDataset, arguments: dict[str, int], message: str
) -> None:
    good = {"context_length": 16, "batch_size": 4, "seed": 0}
    with pytest.raises(InvalidInput, match=message):
        Loader(words, "train", **{**good, **arguments})  # type: ignore[arg-type]


def test_a_split_that_is_not_there_is_refused(words: EncodedDataset) -> None:
    with pytest.raises(NotFound, match="no split 'validation'"):
        Loader(words, "validation", 16, 4, seed=0)


def test_a_short_split_can_still_be_packed(tmp_path: Path) -> None:
    encoded = encoded_texts(tmp_path, {"train": ["abc"]}, TokenizerSpec("byte"))
    (batch,) = take(Loader(encoded, "train", 64, 1, seed=0, mode="packed"), 1)
    assert (batch.targets_BT != IGNORED).sum() == 4
