"""What raw datasets promise."""

import json
from pathlib import Path

import pytest
from vermeil_data import (
    DatasetWriter,
    Sample,
    Segment,
    Skipped,
    open_dataset,
    open_encoded,
    write_dataset,
)
from vermeil_errors import DataCorrupted, InvalidInput, NotFound

PICTURE = Sample(
    (
        Segment("image", "given", data=b"\x89PNG\0bytes", media_type="image/png"),
        Segment("text", "target", text="a red circle — 红"),
    ),
    id="pictures/1.png",
    metadata={"shape": "circle", "colour": "red"},
)


def texts(count: int) -> list[Sample]:
    return [Sample.of_text(f"document {index} " * (index % 5 + 1), id=str(index)) for index in range(count)]


def test_samples_of_every_modality_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": [*texts(3), PICTURE]}, "mixed")
    assert list(open_dataset(tmp_path).split("train")) == [*texts(3), PICTURE]


def test_a_split_is_a_sequence_over_all_its_shards(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, shard_bytes=1) as writer:
        for sample in texts(9000):
            writer.add("train", sample)
        card = writer.finish("many")
    split = open_dataset(tmp_path).split("train")
    assert [shard.num_samples for shard in card.splits["train"].shards] == [4096, 4096, 808]
    assert len(split) == 9000
    assert [split[index].id for index in (0, 4095, 4096, 8999, -1)] == ["0", "4095", "4096", "8999", "8999"]
    assert [sample.id for sample in split[4095:4097]] == ["4095", "4096"]
    assert list(split) == texts(9000)
    with pytest.raises(IndexError, match="9000 of 9000"):
        split[9000]


def test_the_card_counts_samples_characters_and_bytes(tmp_path: Path) -> None:
    samples = {"train": [Sample.of_text("größe")], "validation": [Sample.of_text("abc"), PICTURE]}
    write_dataset(tmp_path, samples, "counted", source="a shelf", licence="CC0-1.0")
    card = open_dataset(tmp_path).card
    train, validation = card.splits["train"], card.splits["validation"]
    assert (train.num_samples, train.num_characters, train.num_bytes) == (1, 5, 7)
    assert (validation.num_samples, validation.num_characters, validation.num_bytes) == (2, 19, 33)
    assert (card.name, card.source, card.licence) == ("counted", "a shelf", "CC0-1.0")


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with DatasetWriter(tmp_path / name) as writer:
            for sample in [*texts(100), PICTURE]:
                writer.add("train", sample)
            writer.finish("same", counts={"empty": 1}, skipped=[Skipped("a.bin", "binary")])
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two


def test_a_flipped_byte_is_found_and_the_file_named(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": texts(10)}, "fragile")
    open_dataset(tmp_path).verify()
    path = tmp_path / "train-00000.arrow"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataCorrupted, match=r"train-00000\.arrow: its bytes are not what was written"):
        open_dataset(tmp_path).verify()


def test_a_truncated_or_missing_shard_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": texts(10)}, "fragile")
    path = tmp_path / "train-00000.arrow"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataCorrupted, match=r"train-00000\.arrow: is not a whole Arrow file"):
        open_dataset(tmp_path).split("train")
    path.unlink()
    with pytest.raises(DataCorrupted, match=r"train-00000\.arrow"):
        open_dataset(tmp_path).split("train")


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"dataset\.json is missing"):
        open_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DataCorrupted, match="not a data card"):
        open_dataset(tmp_path)


def test_a_raw_dataset_is_not_taken_for_an_encoded_one(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": texts(1)}, "raw")
    with pytest.raises(InvalidInput, match="kind 'raw', where 'encoded' is needed"):
        open_encoded(tmp_path)


def test_a_card_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": texts(1)}, "new")
    card = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps(card | {"format_version": 2}))
    with pytest.raises(InvalidInput, match="has format 2; this code reads 1"):
        open_dataset(tmp_path)


def test_an_unknown_split_is_refused_with_those_there_are(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": texts(1), "validation": texts(1)}, "named")
    with pytest.raises(NotFound, match="no split 'test'; it has train, validation"):
        open_dataset(tmp_path).split("test")


def test_a_half_written_folder_is_no_dataset(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path) as writer:
        writer.add("train", texts(1)[0])
    with pytest.raises(NotFound):
        open_dataset(tmp_path)


def test_equal_content_has_equal_digests_wherever_it_comes_from() -> None:
    assert Sample.of_text("same", id="a").digest == Sample.of_text("same", id="b").digest
    assert Sample.of_text("same").digest != Sample.of_text("Same").digest
    assert Sample.of_text("same").digest != Sample((Segment("text", "given", text="same"),)).digest
    joined = Sample((Segment("text", text="ab"),))
    divided = Sample((Segment("text", text="a"), Segment("text", text="b")))
    assert joined.digest != divided.digest
