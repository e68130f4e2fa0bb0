"""What encoded datasets promise."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vermeil_data import (
    Sample,
    Segment,
    TokenizerSpec,
    encode_dataset,
    fit_tokenizer,
    open_dataset,
    open_encoded,
    train_tokenizer,
    write_dataset,
)
from vermeil_data.testing import documents, encoded_texts
from vermeil_errors import Cancelled, DataCorrupted, InvalidInput, NotFound

BYTE = TokenizerSpec("byte")


def test_every_document_is_one_row_that_begins_with_bos(tmp_path: Path) -> None:
    encoded = encoded_texts(tmp_path, {"train": ["abc", "", "é"]}, BYTE)
    ids, offsets = encoded.tokens("train")
    bos = encoded.tokenizer.bos_id
    assert ids.tolist() == [bos, 97, 98, 99, bos, bos, 0xC3, 0xA9]
    assert offsets.tolist() == [0, 4, 5, 8]
    assert encoded.document_bytes("train").tolist() == [3, 0, 2]


def test_the_card_counts_tokens_and_bytes_of_every_split(tmp_path: Path) -> None:
    encoded = encoded_texts(tmp_path, {"train": documents(40), "validation": documents(3)}, BYTE)
    for name, texts in (("train", documents(40)), ("validation", documents(3))):
        card = encoded.card.splits[name]
        num_bytes = sum(len(text.encode()) for text in texts)
        assert (card.num_samples, card.num_bytes, card.num_tokens) == (
            len(texts),
            num_bytes,
            num_bytes + len(texts),
        )
        assert card.num_tokens == len(encoded.tokens(name).ids_N)
    assert encoded.vocab_size == 269
    assert encoded.card.tokenizer
    assert encoded.card.tokenizer.kind == "byte"


def test_the_ids_are_a_view_of_the_file(tmp_path: Path) -> None:
    ids = encoded_texts(tmp_path, {"train": documents(40)}, BYTE).tokens("train").ids_N
    assert ids.dtype == np.uint16
    assert not ids.flags.owndata
    assert not ids.flags.writeable


def test_a_vocabulary_over_65536_takes_four_bytes_a_token(tmp_path: Path) -> None:
    alphabet = "".join(chr(0x10000 + index) for index in range(70_000))
    ids = encoded_texts(tmp_path, {"train": [alphabet]}, TokenizerSpec("character")).tokens("train").ids_N
    assert ids.dtype == np.uint32
    assert ids[1:].tolist() == list(range(70_000))


@pytest.mark.parametrize("kind", ["bpe", "byte", "character"])
def test_the_same_dataset_and_tokenizer_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    spec = TokenizerSpec(kind)  # type: ignore[arg-type]
    one, two = (encoded_texts(tmp_path / name, {"train": documents(60)}, spec).folder for name in "ab")
    names = sorted(path.name for path in one.iterdir())
    assert names == ["dataset.json", "tokenizer.json", "tokenizer_config.json", "train-00000.arrow"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_a_character_tokenizer_knows_the_characters_of_all_splits(tmp_path: Path) -> None:
    encoded = encoded_texts(tmp_path, {"train": ["abc"], "validation": ["abcd"]}, TokenizerSpec("character"))
    assert encoded.tokenizer.alphabet == set("abcd")


def test_a_tokenizer_without_a_character_of_the_data_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": [Sample.of_text("abz")]}, "z")
    tokenizer = train_tokenizer(["abc"], TokenizerSpec("character"))
    with pytest.raises(InvalidInput, match="character 'z' at 2"):
        encode_dataset(open_dataset(tmp_path / "raw"), tokenizer, tmp_path / "encoded")
    assert not list((tmp_path / "encoded").iterdir())


def test_bpe_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    for name, validation in (("one", "zzzz zzzz zzzz"), ("two", "qqqq qqqq qqqq")):
        samples = {
            "train": [Sample.of_text(text) for text in documents(30)],
            "validation": [Sample.of_text(validation)],
        }
        write_dataset(tmp_path / name, samples, name)
        fit_tokenizer(open_dataset(tmp_path / name), TokenizerSpec("bpe", 400)).save(tmp_path / name)
    assert (tmp_path / "one/tokenizer.json").read_bytes() == (tmp_path / "two/tokenizer.json").read_bytes()


def test_progress_counts_documents_and_may_stop_the_work(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", {"train": [Sample.of_text(text) for text in documents(5000)]}, "many")
    raw = open_dataset(tmp_path / "raw")
    tokenizer = fit_tokenizer(raw, BYTE)
    seen: list[tuple[int, int]] = []
    encode_dataset(raw, tokenizer, tmp_path / "encoded", lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[0] == (0, 5000)
    assert seen[-1] == (5000, 5000)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_dataset(raw, tokenizer, tmp_path / "stopped", stop)
    with pytest.raises(NotFound):
        open_encoded(tmp_path / "stopped")


@pytest.mark.parametrize("kind", ["bpe", "character"])
def test_learning_a_tokenizer_may_be_stopped(tmp_path: Path, kind: str) -> None:
    write_dataset(tmp_path / "raw", {"train": [Sample.of_text(text) for text in documents(10)]}, "some")

    def stop() -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        fit_tokenizer(open_dataset(tmp_path / "raw"), TokenizerSpec(kind), stop)  # type: ignore[arg-type]


def test_all_text_of_a_sample_is_encoded_in_order(tmp_path: Path) -> None:
    sample = Sample((Segment("text", "given", text="ab"), Segment("text", text="cd")))
    write_dataset(tmp_path / "raw", {"train": [sample]}, "two parts")
    raw = open_dataset(tmp_path / "raw")
    encoded = encode_dataset(raw, fit_tokenizer(raw, BYTE), tmp_path / "encoded")
    assert encoded.tokens("train").ids_N[1:].tolist() == list(b"abcd")


@pytest.mark.parametrize("name", ["train-00000.arrow", "tokenizer.json"])
def test_a_flipped_byte_is_found_and_the_file_named(tmp_path: Path, name: str) -> None:
    encoded = encoded_texts(tmp_path, {"train": documents(60)}, BYTE)
    encoded.verify()
    path = encoded.folder / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataCorrupted, match=f"{name}: its bytes are not what was written"):
        encoded.verify()


@pytest.mark.parametrize("name", [".train.tokens", "train-00000.arrow"])
def test_a_full_disk_is_told_as_such(tmp_path: Path, name: str) -> None:
    write_dataset(tmp_path / "raw", {"train": [Sample.of_text("x" * 100_000)]}, "some")
    (tmp_path / "encoded").mkdir()
    (tmp_path / "encoded" / name).symlink_to("/dev/full")
    raw = open_dataset(tmp_path / "raw")
    with pytest.raises(OSError, match="No space left on device"):
        encode_dataset(raw, fit_tokenizer(raw, BYTE), tmp_path / "encoded")
    with pytest.raises(NotFound):
        open_encoded(tmp_path / "encoded")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no split 'validation'; it has train"):
        encoded_texts(tmp_path, {"train": ["abc"]}, BYTE).tokens("validation")


def test_reading_and_encoding_need_no_torch() -> None:
    code = "import sys, vermeil_data; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
