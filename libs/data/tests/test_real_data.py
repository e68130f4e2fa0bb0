"""Real data all the way; skipped where VERMEIL_DATA_DIR is not set."""

from pathlib import Path

import pytest
from vermeil_data import (
    DatasetWriter,
    Sample,
    Splitter,
    TokenizerSpec,
    encode_dataset,
    fit_tokenizer,
    open_dataset,
)


def test_tinyshakespeare_is_split_and_spelled_as_in_nanogpt(data_dir: Path, tmp_path: Path) -> None:
    text = (data_dir / "tinyshakespeare/input.txt").read_text(encoding="utf-8")
    with DatasetWriter(tmp_path / "raw") as writer:
        splitter = Splitter(writer.add, validation_fraction=0.1, by="auto", spool=tmp_path / "spool")
        splitter.add(Sample.of_text(text, id="input.txt"))
        splitter.finish()
        writer.finish("tinyshakespeare")
    raw = open_dataset(tmp_path / "raw")
    tokenizer = fit_tokenizer(raw, TokenizerSpec("character"))
    encoded = encode_dataset(raw, tokenizer, tmp_path / "encoded")
    alphabet = sorted(set(text))
    assert len(alphabet) == 65
    assert tokenizer.vocab_size == 65 + 13
    cut = int(len(text) * 0.9)
    for split, part in (("train", text[:cut]), ("validation", text[cut:])):
        ids = encoded.tokens(split).ids_N
        assert len(ids) == len(part) + 1
        assert ids[1:1000].tolist() == [alphabet.index(character) for character in part[:999]]
        assert tokenizer.decode(ids.tolist()) == part


@pytest.mark.slow
def test_peps_come_back_exactly_from_bpe(data_dir: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted((data_dir / "peps").glob("*.rst"))]
    from vermeil_data import train_tokenizer

    tokenizer = train_tokenizer(texts, TokenizerSpec("bpe", 4096))
    encoded = tokenizer.encode_batch(texts)
    assert tokenizer.vocab_size == 4096
    assert [tokenizer.decode(ids.tolist()) for ids in encoded] == texts
    assert sum(len(text.encode()) for text in texts) / sum(map(len, encoded)) > 3.5
