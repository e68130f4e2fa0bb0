"""Every layout in which people keep pictures becomes samples with captions, classes and splits."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from vermeil_data.shapes import Scene
from vermeil_data.shapes.words import NUMBERS
from vermeil_errors import InvalidInput, NotFound
from vermeil_ingest.ingest import Ingestion, ingest, wants_pictures
from vermeil_ingest.sources import Source
from vermeil_media import decode_image

from .pictures import captions, fill, idx, nonzero, pixels, png, run, samples, tar_of


def test_a_folder_of_every_format_is_read_and_kept_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    folder.mkdir()
    files = {}
    for number, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF")):
        file = io.BytesIO()
        Image.fromarray(pixels(number)).save(file, kind)
        files[f"{number}.{kind.lower()}"] = file.getvalue()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    (folder / "README.md").write_text("not a picture")
    dataset = run(tmp_path, Source(folder))
    found = samples(dataset)
    assert {name: sample.segments[-1].data for name, sample in found.items()} == files
    types = [sample.segments[-1].media_type for sample in found.values()]
    assert types == ["image/png", "image/jpeg", "image/webp", "image/gif"]
    assert nonzero(dataset) == {"files_found": 4, "files_other": 1, "written": 4}


def test_a_single_picture_is_a_dataset(tmp_path: Path) -> None:
    fill(tmp_path, "cat.png")
    assert list(samples(run(tmp_path, Source(tmp_path / "cat.png")))) == ["cat.png"]
    with pytest.raises(InvalidInput, match="one picture cannot be divided; use 0"):
        run(tmp_path, Source(tmp_path / "cat.png"), validation_fraction=0.1)


def test_a_text_beside_a_picture_holds_its_captions(tmp_path: Path) -> None:
    folder = fill(tmp_path / "shelf", "a.png", "b.png")
    (folder / "a.txt").write_text("first words\n\nsecond words\n")
    found = samples(run(tmp_path, Source(folder)))
    assert captions(found["a.png"]) == ["first words", "second words"]
    assert captions(found["b.png"]) == []


def test_folders_named_after_classes_give_classes_and_captions(tmp_path: Path) -> None:
    folder = fill(tmp_path / "zoo", "red_fox/1.png", "red_fox/2.png", "ant/1.png")
    found = samples(run(tmp_path, Source(folder)))
    fox = found["red_fox/1.png"]
    assert (fox.metadata["class"], fox.metadata["class_number"]) == ("red_fox", "1")
    assert captions(fox) == ["red fox", "a picture of red fox", "an image of red fox"]
    assert found["ant/1.png"].metadata["class_number"] == "0"


def test_a_class_folder_without_pictures_is_refused_by_name(tmp_path: Path) -> None:
    folder = fill(tmp_path / "zoo", "ant/1.png", "bee/1.png")
    (folder / "cat").mkdir()
    with pytest.raises(InvalidInput, match="zoo: 1 of 3 classes have no pictures: 'cat'"):
        run(tmp_path, Source(folder))
    (folder / "cat/1.png").write_text("<html>")
    with pytest.raises(InvalidInput, match="no pictures: 'cat'"):
        run(tmp_path, Source(folder))


def test_folders_named_after_splits_are_splits(tmp_path: Path) -> None:
    names = [f"train/{kind}/{number}.png" for kind in ("ant", "bee") for number in range(30)]
    folder = fill(tmp_path / "zoo", *names, "test/ant/1.png", "test/bee/1.png")
    dataset = run(tmp_path, Source(folder), validation_fraction=0.2)
    sizes = {name: split.num_samples for name, split in dataset.card.splits.items()}
    assert sizes["test"] == 2
    assert sizes["train"] + sizes["validation"] == 60
    assert sizes["validation"] > 2
    assert samples(dataset, "test")["test/bee/1.png"].metadata["class"] == "bee"


def test_a_validation_folder_is_the_validation_split(tmp_path: Path) -> None:
    folder = fill(tmp_path / "zoo", *(f"train/{number}.png" for number in range(40)), "val/x.png")
    dataset = run(tmp_path, Source(folder), validation_fraction=0.3)
    assert {name: split.num_samples for name, split in dataset.card.splits.items()} == {
        "train": 40,
        "validation": 1,
    }


def test_an_image_folder_with_metadata_gives_captions(tmp_path: Path) -> None:
    folder = fill(tmp_path / "emoji", "images/a.png", "images/b.png", "images/c.png", "images/unlisted.png")
    lines = [
        {"file_name": "images/a.png", "text": "grinning face"},
        {"file_name": "images/b.png", "text": ["red heart", "a heart"], "label": "heart"},
        {"file_name": "images/c.png", "title": "a star", "label": 3},
        {"file_name": "images/gone.png", "text": "not there"},
        {"file_name": "../secret.png", "text": "outside"},
        {"text": "no name"},
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n{broken\n")
    dataset = run(tmp_path, Source(folder))
    found = samples(dataset)
    assert captions(found["images/a.png"]) == ["grinning face"]
    assert captions(found["images/b.png"]) == ["red heart", "a heart"]
    assert found["images/b.png"].metadata["class"] == "heart"
    assert found["images/c.png"].metadata["class"] == "3"
    assert set(found) == {"images/a.png", "images/b.png", "images/c.png"}
    counts = dataset.card.counts
    assert (counts["missing"], counts["escaping"], counts["malformed"]) == (1, 1, 2)
    titled = samples(run(tmp_path, Source(folder, fields=("title",)), keep_duplicates=True))
    assert captions(titled["images/c.png"]) == ["a star"]


def mnist(folder: Path, num_train: int = 30, num_test: int = 10, *, packed: bool = True) -> Path:
    folder.mkdir()
    for name, count, seed in (("train", num_train, 0), ("t10k", num_test, 1)):
        random = np.random.default_rng(seed)
        files = {
            f"{name}-images-idx3-ubyte": random.integers(0, 255, (count, 28, 28), np.uint8),
            f"{name}-labels-idx1-ubyte": np.arange(count, dtype=np.uint8) % 3,
        }
        for file, array in files.items():
            if packed:
                (folder / f"{file}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (folder / file).write_bytes(idx(array))
    (folder / "classes.txt").write_text("T-shirt/top\nTrouser\nAnkle boot\n")
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_idx_pairs_give_pictures_classes_and_a_test_split(tmp_path: Path, packed: bool) -> None:
    dataset = run(tmp_path, Source(mnist(tmp_path / "fashion", packed=packed)))
    assert {name: split.num_samples for name, split in dataset.card.splits.items()} == {
        "train": 30,
        "test": 10,
    }
    expected = np.random.default_rng(0).integers(0, 255, (30, 28, 28), np.uint8)
    for number, sample in enumerate(dataset.split("train")):
        decoded = decode_image(sample.segments[-1].data or b"", channels=1)[:, :, 0]
        assert np.array_equal(decoded, expected[number])
        assert sample.metadata["class_number"] == str(number % 3)
    assert captions(dataset.split("train")[0])[1] == "a picture of T-shirt/top"
    assert dataset.card.counts["files_other"] == 0


def test_labels_that_are_too_few_or_too_high_are_refused(tmp_path: Path) -> None:
    folder = mnist(tmp_path / "fashion")
    labels = folder / "train-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()
    labels.write_bytes(gzip.compress(idx(np.zeros(29, np.uint8))))
    with pytest.raises(
        InvalidInput, match=r"train-labels.*: has 29 labels for the 30 pictures of train-images"
    ):
        run(tmp_path, Source(folder))
    labels.write_bytes(gzip.compress(gzip.decompress(whole)[:-3]))
    with pytest.raises(
        InvalidInput, match=r"train-labels.*: is not a whole IDX file: .* = 38 bytes, it has 35"
    ):
        run(tmp_path, Source(folder))
    labels.write_bytes(whole)
    (folder / "classes.txt").write_text("one\ntwo\n")
    with pytest.raises(InvalidInput, match=r"has label 2, but classes\.txt names 2 classes"):
        run(tmp_path, Source(folder))
    (folder / "classes.txt").write_text("one\ntwo\nthree\nfour\n")
    with pytest.raises(InvalidInput, match="1 of 4 classes have no pictures: 'four'"):
        run(tmp_path, Source(folder))
    labels.unlink()
    with pytest.raises(NotFound, match=r"train-images-idx3-ubyte\.gz: has no labels"):
        run(tmp_path, Source(folder))


def test_one_idx_file_finds_its_labels_beside_it(tmp_path: Path) -> None:
    folder = mnist(tmp_path / "fashion")
    dataset = run(tmp_path, Source(folder / "t10k-images-idx3-ubyte.gz"))
    assert dataset.card.splits["train"].num_samples == 10
    assert dataset.split("train")[4].metadata["class"] == "1"


def test_a_webdataset_groups_members_by_name(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    tar_of(
        shelf / "000.tar",
        {
            "a.png": png(0),
            "a.txt": b"words of a",
            "b.json": json.dumps({"caption": "words of b", "label": 4}).encode(),
            "b.png": png(1),
            "deep/c.jpg": png(2),
            "deep/c.cls": b"7",
            "note.txt": b"belongs to nothing",
        },
    )
    with tarfile.open(shelf / "001.tar.gz", "w:gz") as archive:
        archive.add(fill(tmp_path / "x", "d.png") / "d.png", "d.png")
    dataset = run(tmp_path, Source(shelf))
    found = samples(dataset)
    assert captions(found["000.tar/a.png"]) == ["words of a"]
    assert captions(found["000.tar/b.png"]) == ["words of b"]
    assert found["000.tar/b.png"].metadata["class"] == "4"
    assert found["000.tar/deep/c.jpg"].metadata["class"] == "7"
    assert dataset.card.counts["duplicate"] == 1


@pytest.mark.parametrize("plain", [True, False])
def test_parquet_with_pictures_is_read(tmp_path: Path, plain: bool) -> None:
    images = [png(0), png(1), None] if plain else [{"bytes": png(0), "path": "a"}, {"bytes": png(1)}, None]
    table = pa.table({"image": images, "caption": ["one", "two", "three"], "label": [1, 0, 1]})
    features = {"info": {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, tmp_path / "rows.parquet")
    dataset = run(tmp_path, Source(tmp_path / "rows.parquet"))
    found = samples(dataset)
    assert captions(found["rows.parquet#2"]) == ["two"]
    assert found["rows.parquet#1"].metadata["class"] == "bee"
    assert found["rows.parquet#1"].metadata["class_number"] == "1"
    assert dataset.card.counts["missing"] == 1


def test_the_embedded_sources_need_no_files(tmp_path: Path) -> None:
    digits = run(tmp_path / "a", Source(Path("digits:"), uri="digits:"))
    assert digits.card.splits["train"].num_samples + digits.card.counts["duplicate"] == 1797
    assert digits.card.source == "digits:"
    uri = "shapes:?count=30&seed=3&side=40"
    shapes = run(tmp_path / "b", Source(Path(uri), uri=uri))
    first = shapes.split("train")[0]
    assert first.metadata["width"] == "40"
    assert first.metadata["scene"]
    assert captions(first)
    asking = f"{uri}&questions=1"
    asked = run(tmp_path / "c", Source(Path(asking), uri=asking))
    (sample,) = [each for each in asked.split("train") if each.id == first.id + "#1"]
    picture, question, answer = sample.segments
    assert (picture.role, question.role, answer.role) == ("given", "given", "target")
    assert question.text == "how many shapes are there?"
    assert answer.text == NUMBERS[len(Scene.from_text(first.metadata["scene"]).shapes)]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("shapes:?count=0", "count must be 1 to"),
        ("shapes:?colour=red", "unknown option 'colour'; known are count, seed, side, questions"),
        ("digits:?count=3", "unknown option 'count'; it takes none"),
        ("digits:/etc/passwd", "is more than a name; write digits:"),
    ],
)
def test_an_embedded_source_with_wrong_options_is_refused(tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        run(tmp_path, Source(Path(uri), uri=uri))


def test_pictures_are_told_from_text_by_the_names_of_the_files(tmp_path: Path) -> None:
    folder = fill(tmp_path / "mostly", "a.png", "b.png")
    (folder / "README.md").write_text("about them")
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("words")
    (texts / "b.txt").write_text("more words")
    fill(texts, "figure.png")

    def wants(*sources: Source, **settings: str) -> bool:
        return wants_pictures(Ingestion("x", sources, **settings), [tmp_path])  # type: ignore[arg-type]

    assert wants(Source(folder))
    assert not wants(Source(texts))
    assert wants(Source(texts), media="image")
    assert not wants(Source(folder), media="text")
    pq.write_table(pa.table({"text": ["words"]}), tmp_path / "words.parquet")
    assert not wants(Source(tmp_path / "words.parquet"))
    with pytest.raises(InvalidInput, match="some sources hold pictures and some text"):
        wants(Source(folder), Source(texts))


def test_a_folder_without_pictures_is_refused_where_pictures_are_asked_for(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "a.txt").write_text("words")
    with pytest.raises(InvalidInput, match="shelf: has no pictures among its 1 files"):
        ingest(Ingestion("x", (Source(shelf),), media="image"), tmp_path / "out", roots=[tmp_path])
