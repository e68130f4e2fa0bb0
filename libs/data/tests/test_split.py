"""How samples are divided into train and validation."""

from collections import defaultdict
from pathlib import Path

import pytest
from vermeil_data import Sample, SplitBy, Splitter
from vermeil_data.testing import documents
from vermeil_errors import InvalidInput


def divide(
    folder: Path, samples: list[Sample], fraction: float, by: SplitBy = "auto"
) -> tuple[SplitBy, dict[str, list[Sample]]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    splitter = Splitter(
        lambda split, sample: found[split].append(sample),
        validation_fraction=fraction,
        by=by,
        spool=folder / "spool",
    )
    for sample in samples:
        splitter.add(sample)
    splitter.finish()
    assert not list(folder.iterdir())
    return splitter.by, dict(found)


def samples(count: int) -> list[Sample]:
    return [Sample.of_text(text, id=str(index)) for index, text in enumerate(documents(count))]


def test_few_documents_are_split_by_position_and_many_by_document(tmp_path: Path) -> None:
    assert divide(tmp_path, samples(19), 0.1)[0] == "position"
    assert divide(tmp_path, samples(20), 0.1)[0] == "document"


@pytest.mark.parametrize("size", [10, 11, 1_115_394])
def test_a_position_split_is_that_of_nanogpt(tmp_path: Path, size: int) -> None:
    text = "".join(chr(97 + index % 26) for index in range(size))
    _, found = divide(tmp_path, [Sample.of_text(text)], 0.1)
    assert found["train"][0].text == text[: int(size * 0.9)]
    assert found["validation"][0].text == text[int(size * 0.9) :]


def test_a_position_split_keeps_the_end_of_every_document(tmp_path: Path) -> None:
    _, found = divide(tmp_path, samples(5), 0.25)
    parts = zip(found["train"], found["validation"], strict=True)
    assert [train.text + validation.text for train, validation in parts] == documents(5)


def test_a_document_split_gives_every_document_to_exactly_one_split(tmp_path: Path) -> None:
    _, found = divide(tmp_path, samples(500), 0.1)
    assert len(found["train"]) + len(found["validation"]) == 500
    assert 25 <= len(found["validation"]) <= 80
    order = [int(sample.id) for sample in found["train"]]
    assert order == sorted(order)


def test_a_document_stays_in_its_split_when_others_come(tmp_path: Path) -> None:
    _, few = divide(tmp_path, samples(100), 0.1)
    _, many = divide(tmp_path, samples(300), 0.1)
    assert {sample.id for sample in few["validation"]} <= {sample.id for sample in many["validation"]}


@pytest.mark.parametrize("count", [2, 3, 20])
@pytest.mark.parametrize("fraction", [0.001, 0.5])
def test_neither_split_of_documents_is_ever_empty(tmp_path: Path, count: int, fraction: float) -> None:
    _, found = divide(tmp_path, samples(count), fraction, "document")
    assert found["train"]
    assert found["validation"]


def test_no_validation_is_made_where_none_is_wanted(tmp_path: Path) -> None:
    _, found = divide(tmp_path, samples(30), 0)
    assert set(found) == {"train"}


def test_duplicates_count_once_when_the_way_of_splitting_is_chosen(tmp_path: Path) -> None:
    by, found = divide(tmp_path, samples(2) * 15, 0.1)
    assert by == "position"
    assert len(found["train"]) == 30


def test_one_document_cannot_be_split_by_document(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least two different documents"):
        divide(tmp_path, samples(1) * 3, 0.1, "document")


def test_an_impossible_fraction_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"validation_fraction = 0\.6: is out of range; choose 0 to 0\.5"):
        divide(tmp_path, samples(1), 0.6)
