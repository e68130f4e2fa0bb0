"""Embeddings of a dataset: written, read, searched; damage is named."""

from pathlib import Path

import numpy as np
import pytest
from vermeil_data import EmbeddedSplit, Embeddings, open_embeddings, write_embeddings
from vermeil_errors import DataCorrupted, InvalidInput


def _unit(count: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    vectors = np.random.default_rng(seed).normal(size=(count, 8))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def written(tmp_path: Path) -> Embeddings:
    splits = {
        "train": EmbeddedSplit([f"t{index}" for index in range(50)], _unit(50, 0)),
        "validation": EmbeddedSplit(["v0", "v1"], _unit(2, 1)),
    }
    return write_embeddings(
        tmp_path, splits, model="models/m/versions/1", dataset="datasets/d/versions/2", width=8
    )


def test_what_was_written_is_read_as_float16(written: Embeddings) -> None:
    again = open_embeddings(written.folder)
    assert (again.card.model, again.card.dataset) == ("models/m/versions/1", "datasets/d/versions/2")
    ids, vectors_NE = again.split("train")
    assert ids[:2] == ["t0", "t1"]
    assert vectors_NE.dtype == np.float16
    assert np.allclose(vectors_NE, _unit(50, 0), atol=1e-3)


def test_the_nearest_of_all_splits_come_first(written: Embeddings) -> None:
    query_E = _unit(2, 1)[1].astype(np.float32)
    found = written.nearest(query_E, 5)
    assert (found[0].split, found[0].place, found[0].id) == ("validation", 1, "v1")
    assert found[0].score == pytest.approx(1, abs=1e-3)
    everything = np.concatenate([_unit(50, 0), _unit(2, 1)]) @ query_E
    assert [each.score for each in found] == pytest.approx(sorted(everything)[::-1][:5], abs=1e-3)
    assert len(written.nearest(query_E, 100)) == 52


def test_a_query_of_another_width_is_refused(written: Embeddings) -> None:
    with pytest.raises(InvalidInput, match="is not of width 8"):
        written.nearest(np.zeros(4, np.float32), 1)


def test_a_folder_without_embeddings_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"embeddings\.json is missing"):
        open_embeddings(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_damaged_embeddings_are_named(written: Embeddings, damage: str) -> None:
    path = written.folder / "train-embeddings.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "other":
        np.save(path, np.zeros((49, 8), np.float16))
    else:
        path.unlink()
    with pytest.raises(DataCorrupted, match="train"):
        open_embeddings(written.folder).split("train")
