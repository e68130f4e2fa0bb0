"""What encoded samples keep of raw ones."""

from pathlib import Path

import numpy as np
import pytest
from vermeil_data import (
    EncodedSamples,
    ImageEncoding,
    Sample,
    Segment,
    TokenizerSpec,
    encode_samples,
    fit_tokenizer,
    open_dataset,
    open_encoded_images,
    open_encoded_samples,
    train_tokenizer,
    write_dataset,
)
from vermeil_data.testing import asked_samples, documents, encoded_samples, picture_samples
from vermeil_errors import Cancelled, DataCorrupted, InvalidInput, NotFound
from vermeil_media import decode_image, encode_png

from .mixtures import stories

BYTE = train_tokenizer([], TokenizerSpec("byte"))
SMALL = ImageEncoding(8, 8)


def every_sort() -> list[Sample]:
    texts = [Sample.of_text(text, id=text[:9]) for text in documents(5)]
    return [*picture_samples(6), *asked_samples(8), *stories(3), *texts]


def read_back(encoded: EncodedSamples, split: str = "train") -> list[list[tuple[str, str | bytes]]]:
    """Role and content of every segment."""
    found = encoded.samples(split)
    told = []
    for begin, end in zip(found.sample_offsets[:-1], found.sample_offsets[1:], strict=True):
        parts: list[tuple[str, str | bytes]] = []
        for at in range(begin, end):
            role = "target" if found.learned_K[at] else "given"
            if found.pictures_K[at] >= 0:
                parts.append((role, found.pixels_PCHW[found.pictures_K[at]].tobytes()))
            else:
                ids = found.ids_T[found.text_offsets[at] : found.text_offsets[at + 1]]
                parts.append((role, encoded.tokenizer.decode(ids.tolist())))
        told.append(parts)
    return told


def content(segment: Segment) -> str | bytes:
    if segment.modality == "text":
        return segment.text or ""
    return decode_image(segment.data or b"").transpose(2, 0, 1).tobytes()


def test_samples_of_every_sort_come_back_in_their_order_and_roles(tmp_path: Path) -> None:
    samples = every_sort()
    encoded = encoded_samples(tmp_path, {"train": samples, "validation": samples[:2]}, BYTE)
    expected = [[(segment.role, content(segment)) for segment in sample.segments] for sample in samples]
    assert read_back(encoded) == expected
    assert read_back(encoded, "validation") == expected[:2]
    assert encoded.num_samples("train") == len(samples)
    encoded.verify()


def test_a_picture_that_many_samples_show_is_kept_once(tmp_path: Path) -> None:
    encoded = encoded_samples(tmp_path, {"train": asked_samples(20)}, BYTE)
    assert encoded.num_pictures("train") == 10
    assert encoded.samples("train").pixels_PCHW.shape == (10, 3, 8, 8)


def test_classes_are_kept_as_with_pictures_alone(tmp_path: Path) -> None:
    encoded = encoded_samples(tmp_path, {"train": [*picture_samples(6), *asked_samples(1)]}, BYTE)
    assert encoded.class_names == ("stripe", "check", "slope")
    assert encoded.samples("train").classes_N.tolist() == [0, 1, 2, 0, 1, 2, -1]


def test_a_picture_without_a_word_is_captioned_by_its_class(tmp_path: Path) -> None:
    pictures = [
        Sample.of_image(each.segments[-1].data or b"", "image/png", metadata=each.metadata)
        for each in picture_samples(3)
    ]
    bare = Sample.of_image(pictures[0].segments[0].data or b"", "image/png")
    encoded = encoded_samples(tmp_path, {"train": [*pictures, bare]}, BYTE)
    said = [[content for _, content in parts if isinstance(content, str)] for parts in read_back(encoded)]
    assert said == [["stripe"], ["check"], ["slope"], []]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [encoded_samples(tmp_path / name, {"train": every_sort()}, BYTE).folder for name in "ab"]
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == sorted(path.name for path in folders[1].iterdir())
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_texts_alone_have_no_pictures(tmp_path: Path) -> None:
    encoded = encoded_samples(tmp_path, {"train": [Sample.of_text("ab"), Sample.of_text("")]}, BYTE)
    found = open_encoded_samples(encoded.folder).samples("train")
    assert found.pixels_PCHW.shape == (0, 3, 8, 8)
    assert (found.ids_T.tolist(), found.text_offsets.tolist()) == ([97, 98], [0, 2, 2])


def test_the_tokenizer_of_the_folder_has_the_marks_of_pictures(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": asked_samples(2)}, "asked")
    raw = open_dataset(tmp_path / "raw")
    encoded = encode_samples(raw, SMALL, fit_tokenizer(raw, TokenizerSpec("character")), tmp_path / "out")
    assert encoded.vocab_size == encoded.tokenizer.vocab_size
    assert encoded.tokenizer.eoi_id is not None


def test_a_character_that_the_tokenizer_lacks_is_named(tmp_path: Path) -> None:
    plays = train_tokenizer(["to be or not to be"], TokenizerSpec("character"))
    with pytest.raises(
        InvalidInput, match=r"character 'i' at 0 is not among .* use a model with a byte-level"
    ):
        encoded_samples(tmp_path, {"train": asked_samples(2)}, plays)


def test_sounds_and_clips_are_refused(tmp_path: Path) -> None:
    spoken = Sample((Segment("audio", "given", data=b"RIFF", media_type="audio/wav"),), "1.wav")
    with pytest.raises(InvalidInput, match=r"1\.wav: has a segment of audio, where only texts and pictures"):
        encoded_samples(tmp_path, {"train": [spoken]}, BYTE)


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    broken = Sample((Segment("image", "given", data=b"<html>", media_type="image/png"),), "cat.png")
    with pytest.raises(InvalidInput, match=r"cat\.png"):
        encoded_samples(tmp_path, {"train": [broken]}, BYTE)


def test_progress_counts_samples_and_may_stop_the_work(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": [Sample.of_text(text) for text in documents(300)]}, "many")
    raw = open_dataset(tmp_path / "raw")
    seen: list[tuple[int, int]] = []
    encode_samples(
        raw, SMALL, BYTE, tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(0, 300), (256, 300), (300, 300)]

    def stop(done: int, total: int) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        encode_samples(raw, SMALL, BYTE, tmp_path / "stopped", progress=stop)
    with pytest.raises(NotFound):
        open_encoded_samples(tmp_path / "stopped")


@pytest.mark.parametrize("name", ["train-pixels.npy", "train-ids.npy", "train-learned.npy", "tokenizer.json"])
def test_a_flipped_byte_is_found_and_the_file_named(tmp_path: Path, name: str) -> None:
    encoded = encoded_samples(tmp_path, {"train": every_sort()}, BYTE)
    path = encoded.folder / name
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataCorrupted, match=f"{name}: its bytes are not what was written"):
        encoded.verify()


@pytest.mark.parametrize("damage", ["short", "gone", "other"])
def test_a_damaged_array_is_named_when_it_is_opened(tmp_path: Path, damage: str) -> None:
    folder = encoded_samples(tmp_path, {"train": every_sort()}, BYTE).folder
    path = folder / "train-ids.npy"
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        np.save(path, np.zeros(3, np.uint16))
    with pytest.raises(DataCorrupted, match=r"train-ids\.npy"):
        open_encoded_samples(folder).samples("train")


def test_other_kinds_of_dataset_are_not_taken_for_encoded_samples(tmp_path: Path) -> None:
    folder = encoded_samples(tmp_path, {"train": asked_samples(2)}, BYTE).folder
    with pytest.raises(InvalidInput, match="is a dataset of kind 'encoded-samples', where 'encoded-images'"):
        open_encoded_images(folder)
    with pytest.raises(InvalidInput, match="is a dataset of kind 'raw', where 'encoded-samples' is needed"):
        open_encoded_samples(tmp_path / "raw")
    with pytest.raises(NotFound, match="no split 'test'; it has train"):
        open_encoded_samples(folder).samples("test")


def test_pictures_of_another_shape_are_made_to_fit(tmp_path: Path) -> None:
    wide = Sample.of_image(encode_png(np.full((4, 16, 3), 200, np.uint8)), "image/png", ["wide"])
    encoded = encoded_samples(tmp_path, {"train": [wide]}, BYTE, ImageEncoding(8, 8, 1, "stretch"))
    assert encoded.samples("train").pixels_PCHW.shape == (1, 1, 8, 8)
