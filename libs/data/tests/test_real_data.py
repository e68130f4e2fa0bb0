"""Real data all the way; skipped where VERMEIL_DATA_DIR is not set."""

import json
from itertools import islice
from pathlib import Path

import pytest
from vermeil_data import (
    DatasetWriter,
    EncodedSamples,
    ImageEncoding,
    Sample,
    Segment,
    Splitter,
    TextTokenizer,
    TokenizerSpec,
    encode_dataset,
    fit_tokenizer,
    open_dataset,
    train_tokenizer,
)
from vermeil_data.testing import encoded_samples

from .mixtures import loader, told


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
    tokenizer = train_tokenizer(texts, TokenizerSpec("bpe", 4096))
    encoded = tokenizer.encode_batch(texts)
    assert tokenizer.vocab_size == 4096
    assert [tokenizer.decode(ids.tolist()) for ids in encoded] == texts
    assert sum(len(text.encode()) for text in texts) / sum(map(len, encoded)) > 3.5


def part_of(data_dir: Path, name: str) -> Path:
    folder = data_dir / name
    if not folder.exists():
        pytest.skip(f"VERMEIL_DATA_DIR has no {name}")
    return folder


def easy_vqa(folder: Path, num_pictures: int) -> list[Sample]:
    """The questions about the first pictures, as ingestion lays them down."""
    found = []
    for index, (question, answer, picture) in enumerate(json.loads((folder / "questions.json").read_text())):
        if picture < num_pictures:
            file = (folder / f"images/{picture}.png").read_bytes()
            segments = (
                Segment("image", "given", data=file, media_type="image/png"),
                Segment("text", "given", text=question),
                Segment("text", text=answer),
            )
            found.append(Sample(segments, f"{index}"))
    return found


def emoji(folder: Path, number: int) -> list[Sample]:
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[:number]
    records = [json.loads(line) for line in lines]
    return [
        Sample.of_image((folder / each["file_name"]).read_bytes(), "image/png", [each["text"]])
        for each in records
    ]


def encoded(folder: Path, samples: list[Sample], tokenizer: TextTokenizer) -> EncodedSamples:
    return encoded_samples(folder, {"train": samples}, tokenizer, ImageEncoding(32, 32))


def test_plays_emoji_and_easy_vqa_are_read_together(data_dir: Path, tmp_path: Path) -> None:
    play = (part_of(data_dir, "tinyshakespeare") / "input.txt").read_text(encoding="utf-8")[:60_000]
    asked = easy_vqa(part_of(data_dir, "easy-vqa") / "train", 100)
    shown = emoji(part_of(data_dir, "noto-emoji"), 60)
    texts = [play, *(sample.text for sample in (*asked, *shown))]
    tokenizer = train_tokenizer(texts, TokenizerSpec("bpe", 800))
    sources = {
        "plays": encoded(tmp_path / "plays", [Sample.of_text(play)], tokenizer),
        "emoji": encoded(tmp_path / "emoji", shown, tokenizer),
        "questions": encoded(tmp_path / "questions", asked, tokenizer),
    }
    assert sources["questions"].num_pictures("train") == 100
    tasks = [
        {"kind": "language-modelling", "source": "plays", "window": 32, "weight": 1},
        {"kind": "captioning", "source": "emoji", "weight": 1},
        {"kind": "vqa", "source": "questions", "weight": 4},
        {"kind": "text-to-image", "source": "emoji", "weight": 1},
    ]
    reader = loader(sources, tasks, rows=8, text_slots=160, picture_slots=8, patch_size=8)
    spelled = [sample for batch in islice(reader, 20) for sample in told(batch, tokenizer)]
    questions = {text for task, text in spelled if task == 2}
    assert len(questions) > 100
    assert {text.rsplit("<|assistant|>")[0] for text in questions} <= {
        f"<bos><|user|><boi>▢<eoi>{sample.segments[1].text}<|end|>" for sample in asked
    }
    assert {text.split("<|assistant|>")[1] for text in questions} <= {
        f"{answer}|{answer}<|end|>" for answer in {sample.segments[2].text for sample in asked}
    }
    captions = {sample.segments[0].text for sample in shown}
    prompts = {text.removeprefix("<bos>").removesuffix("<boi>▨|") for task, text in spelled if task == 3}
    assert prompts <= captions
    report = reader.report()
    assert report.pictures > 0.95
    assert report.text > 0.7
    assert [task.left_out for task in report.tasks.values()] == [0, 0, 0, 0]
