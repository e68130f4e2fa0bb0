"""What datasets of pictures promise, raw and encoded."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vermeil_data import (
    ImageEncoding,
    Sample,
    Segment,
    TokenizerSpec,
    decoded_pictures,
    encode_images,
    fit_tokenizer,
    open_dataset,
    open_encoded_images,
    write_dataset,
)
from vermeil_data.testing import encoded_pictures, picture_samples
from vermeil_errors import Cancelled, DataCorrupted, InvalidInput, NotFound
from vermeil_media import decode_image, encode_png, resize_image

BYTE = TokenizerSpec("byte")
SMALL = ImageEncoding(8, 8)


def test_a_sample_of_an_image_has_its_captions_first_and_the_picture_as_target() -> None:
    sample = Sample.of_image(b"data", "image/png", ["one", "two"], id="a", metadata={"class": "cat"})
    assert [(segment.modality, segment.role) for segment in sample.segments] == [
        *[("text", "given")] * 2,
        ("image", "target"),
    ]
    assert (sample.segments[2].data, sample.segments[2].media_type) == (b"data", "image/png")
    assert sample.digest != Sample.of_image(b"datum", "image/png", ["one", "two"]).digest
    assert Sample.of_image(b"", "image/png").metadata == {}


def test_pixels_classes_and_captions_come_back(tmp_path: Path) -> None:
    encoded = encoded_pictures(tmp_path, {"train": 30, "validation": 4}, SMALL, BYTE)
    samples = picture_samples(30)
    pixels = encoded.pixels("train")
    assert pixels.shape == (30, 3, 8, 8)
    assert pixels.dtype == np.uint8
    assert not pixels.flags.writeable
    for index, sample in enumerate(samples):
        file = sample.segments[-1].data or b""
        assert np.array_equal(pixels[index].transpose(1, 2, 0), decode_image(file))
    assert encoded.class_names == ("stripe", "check", "slope")
    assert encoded.classes("train").tolist() == [0, 1, 2] * 10
    assert encoded.tokenizer
    captions = encoded.captions("train")
    for index, sample in enumerate(samples):
        texts = [encoded.tokenizer.decode(ids.tolist()) for ids in captions.of(index)]
        assert texts == [segment.text for segment in sample.segments[:-1]]
    assert encoded.card.splits["train"].num_tokens == len(captions.ids_T)
    assert encoded.num_images("validation") == 4
    encoded.verify()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_pictures_of_every_size_and_format_become_one(tmp_path: Path, channels: int, fit: str) -> None:
    spec = ImageEncoding(12, 20, channels, fit)  # type: ignore[arg-type]
    shapes = ((12, 20), (40, 30), (5, 50))
    files = []
    for index, (height, width) in enumerate(shapes):
        image = Image.new("RGB", (width, height), (200, 100 + index, 0))
        file = io.BytesIO()
        image.save(file, ("PNG", "JPEG", "WEBP")[index])
        files.append(file.getvalue())
    samples = [Sample.of_image(file, "image/png", id=str(index)) for index, file in enumerate(files)]
    write_dataset(tmp_path / "raw", {"train": samples}, "mixed")
    pixels = encode_images(open_dataset(tmp_path / "raw"), spec, tmp_path / "out").pixels("train")
    assert pixels.shape == (3, channels, 12, 20)
    for index, raw in enumerate(files):
        expected = resize_image(decode_image(raw, channels=spec.channels), 12, 20, spec.fit)
        assert np.array_equal(pixels[index].transpose(1, 2, 0), expected)


def test_encoding_again_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (encoded_pictures(tmp_path / name, {"train": 40}, SMALL, BYTE).folder for name in "ab")
    names = sorted(path.name for path in one.iterdir())
    assert "train-pixels.npy" in names
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_without_a_tokenizer_captions_are_left_out(tmp_path: Path) -> None:
    encoded = encoded_pictures(tmp_path, {"train": 5}, SMALL)
    assert encoded.tokenizer is None
    assert len(encoded.captions("train").ids_T) == 0
    assert encoded.captions("train").of(3) == []
    encoded.verify()


def test_pictures_without_captions_and_classes_can_be_encoded(tmp_path: Path) -> None:
    samples = [Sample.of_image(encode_png(np.zeros((4, 4, 1), np.uint8)), "image/png", id="a")]
    write_dataset(tmp_path / "raw", {"train": samples}, "plain")
    raw = open_dataset(tmp_path / "raw")
    encoded = encode_images(raw, SMALL, tmp_path / "out", tokenizer=fit_tokenizer(raw, BYTE))
    assert encoded.classes("train").tolist() == [-1]
    assert encoded.class_names == ()
    assert encoded.captions("train").of(0) == []


def test_classes_without_numbers_are_sorted_by_name(tmp_path: Path) -> None:
    file = encode_png(np.zeros((4, 4, 1), np.uint8))
    samples = [
        Sample.of_image(file, "image/png", [name], metadata={"class": name}) for name in ("cat", "ant", "cat")
    ]
    write_dataset(tmp_path / "raw", {"train": samples}, "zoo")
    encoded = encode_images(open_dataset(tmp_path / "raw"), SMALL, tmp_path / "out")
    assert encoded.class_names == ("ant", "cat")
    assert encoded.classes("train").tolist() == [1, 0, 1]


def test_of_questions_about_a_picture_the_picture_is_taken(tmp_path: Path) -> None:
    file = encode_png(np.full((8, 8, 3), 9, np.uint8))
    asked = Sample(
        (
            Segment("image", "given", data=file, media_type="image/png"),
            Segment("text", "given", text="what is it?"),
            Segment("text", text="grey"),
        )
    )
    write_dataset(tmp_path / "raw", {"train": [asked]}, "questions")
    encoded = encode_images(open_dataset(tmp_path / "raw"), SMALL, tmp_path / "out")
    assert (encoded.pixels("train") == 9).all()


def test_a_sample_without_a_picture_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": [Sample.of_text("words", id="a.txt")]}, "texts")
    with pytest.raises(InvalidInput, match=r"a\.txt: has no picture; choose a dataset of images"):
        encode_images(open_dataset(tmp_path / "raw"), SMALL, tmp_path / "out")
    with pytest.raises(NotFound):
        open_encoded_images(tmp_path / "out")


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": [Sample.of_image(b"<html>", "image/png", id="a.png")]}, "bad")
    with pytest.raises(InvalidInput, match=r"a\.png: is not a picture in PNG, .*: it is an HTML page"):
        encode_images(open_dataset(tmp_path / "raw"), SMALL, tmp_path / "out")


def test_decoded_pictures_come_with_what_is_said_of_them(tmp_path: Path) -> None:
    samples = picture_samples(10)
    write_dataset(tmp_path / "raw", {"train": samples}, "some")
    found = list(decoded_pictures(open_dataset(tmp_path / "raw").split("train")))
    assert len(found) == 10
    for sample, picture in zip(samples, found, strict=True):
        assert np.array_equal(picture.pixels_HWC, decode_image(sample.segments[-1].data or b""))
        assert picture.captions == tuple(segment.text for segment in sample.segments[:-1])
        assert picture.class_name == sample.metadata["class"]


def test_progress_counts_pictures_and_may_stop_the_work(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": picture_samples(600, 2, 2)}, "many")
    raw = open_dataset(tmp_path / "raw")
    seen: list[tuple[int, int]] = []
    encode_images(raw, SMALL, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 600), (256, 600), (512, 600), (600, 600)]

    def stop(done: int, total: int) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        encode_images(raw, SMALL, tmp_path / "stopped", progress=stop)
    with pytest.raises(NotFound):
        open_encoded_images(tmp_path / "stopped")


@pytest.mark.parametrize("name", ["train-pixels.npy", "train-caption-ids.npy", "tokenizer.json"])
def test_a_flipped_byte_is_found_and_the_file_named(tmp_path: Path, name: str) -> None:
    encoded = encoded_pictures(tmp_path, {"train": 30}, SMALL, BYTE)
    path = encoded.folder / name
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataCorrupted, match=f"{name}: its bytes are not what was written"):
        encoded.verify()


@pytest.mark.parametrize("damage", ["short", "gone", "other"])
def test_a_damaged_array_is_named_when_it_is_opened(tmp_path: Path, damage: str) -> None:
    folder = encoded_pictures(tmp_path, {"train": 30}, SMALL, BYTE).folder
    path = folder / "train-pixels.npy"
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        np.save(path, np.zeros((1, 3, 8, 8), np.uint8))
    with pytest.raises(DataCorrupted, match=r"train-pixels\.npy"):
        open_encoded_images(folder).pixels("train")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    folder = encoded_pictures(tmp_path, {"train": 3}, SMALL).folder
    np.save(folder / "train-classes.npy", np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DataCorrupted, match=r"train-classes\.npy: is not a whole array"):
        open_encoded_images(folder).classes("train")


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": picture_samples(300, 64, 64)}, "some")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/train-pixels.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        encode_images(open_dataset(tmp_path / "raw"), ImageEncoding(64, 64), tmp_path / "out")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no split 'test'; it has train"):
        encoded_pictures(tmp_path, {"train": 3}, SMALL).pixels("test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"height": 0}, "height = 0: must be 1 to 4096"),
        ({"width": 5000}, "width = 5000"),
        ({"channels": 2}, "channels = 2: is unknown; choose 1, 3 or 4"),
        ({"fit": "squeeze"}, "fit = 'squeeze': is unknown"),
    ],
)
def test_an_impossible_encoding_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ImageEncoding(**{"height": 8, "width": 8, **settings})  # type: ignore[arg-type]
