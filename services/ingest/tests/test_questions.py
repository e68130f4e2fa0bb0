"""Questions about pictures become samples: picture and question given, the answer to be learned."""

import json
from pathlib import Path

import pytest
from vermeil_data import Dataset, Sample
from vermeil_errors import InvalidInput
from vermeil_ingest.images.ingest_images import look_at_shard, merge_shards
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.ingestion import Ingestion
from vermeil_ingest.sources import Source

from .pictures import fill, nonzero, png, run, samples


def easy(folder: Path, **questions: object) -> Path:
    """Pictures 0 to 2 in train, 3 in test, as easy-VQA lays them down."""
    fill(folder, *(f"train/images/{number}.png" for number in range(3)))
    fill(folder / "test", "images/3.png")
    (folder / "test/images/3.png").write_bytes(png(3))
    asked = {
        "train": [["what is it?", "circle", 0], ["is it red?", "no", 0], ["is it red?", "yes", 2]],
        "test": [["is it blue?", "yes", "3.png"]],
        **questions,
    }
    for split, records in asked.items():
        text = records if isinstance(records, str) else json.dumps(records)
        (folder / split / "questions.json").write_text(text)
    (folder / "answers.txt").write_text("circle\nyes\n\nno\n")
    return folder


def told(sample: Sample) -> list[tuple[str, str, object]]:
    return [(each.modality, each.role, each.text or each.data) for each in sample.segments]


def ids(dataset: Dataset, split: str) -> list[str]:
    return list(samples(dataset, split))


def test_a_question_is_a_sample_with_its_picture(tmp_path: Path) -> None:
    dataset = run(tmp_path, Source(easy(tmp_path / "vqa")))
    assert ids(dataset, "train") == [f"train/images/{name}.png#{n}" for name, n in ((0, 1), (0, 2), (2, 1))]
    assert ids(dataset, "test") == ["test/images/3.png#1"]
    assert told(samples(dataset)["train/images/0.png#2"]) == [
        ("image", "given", png(0)),
        ("text", "given", "is it red?"),
        ("text", "target", "no"),
    ]
    assert samples(dataset)["train/images/2.png#1"].metadata["width"] == "24"
    # Picture 1 is asked nothing, so it is no part of it.
    assert nonzero(dataset) == {"files_found": 3, "files_other": 1, "written": 3, "questions": 4}


def test_all_questions_about_a_picture_go_to_one_split(tmp_path: Path) -> None:
    folder = fill(tmp_path / "vqa", *(f"images/{number}.png" for number in range(40)))
    records = [[f"is it {number}?", "yes", picture] for number in range(3) for picture in range(40)]
    (folder / "questions.json").write_text(json.dumps(records))
    dataset = run(tmp_path, Source(folder), validation_fraction=0.3)
    pictures = {
        split: {name.partition("#")[0] for name in ids(dataset, split)} for split in ("train", "validation")
    }
    assert pictures["train"].isdisjoint(pictures["validation"])
    assert len(ids(dataset, "train")) == 3 * len(pictures["train"])
    assert len(pictures["train"]) + len(pictures["validation"]) == 40


def test_shards_carry_questions(tmp_path: Path) -> None:
    folder = easy(tmp_path / "vqa")
    rules = ImageRules(num_workers=1, num_shards=1)
    ingestion = Ingestion("vqa", (Source(folder),), validation_fraction=0.0, images=rules)
    look_at_shard(ingestion, 0, tmp_path / "shard", roots=[tmp_path])
    merged = merge_shards(ingestion, [tmp_path / "shard"], tmp_path / "merged", roots=[tmp_path])
    alone = run(tmp_path, Source(folder))
    assert merged.splits == alone.card.splits


@pytest.mark.parametrize(
    ("record", "problem", "message"),
    [
        (
            ["is it red?", "yes", 9], "missing",
            "train/questions.json#2: asks about picture '9', which is not in train/images; add it",
        ),
        (
            ["is it red?", "maybe", 0], "unknown_answer",
            "has the answer 'maybe', which answers.txt does not name; add it there, or mend the question",
        ),
        (["is it red?", 0], "malformed", r"is not \[question, answer, image id\]; write"),
        (["is it red?", "yes", None], "malformed", r"is not \[question, answer, image id\]"),
        (["", "yes", 0], "malformed", r"is not \[question, answer, image id\]"),
        (["is it red?", "yes", "../../secret"], "missing", "'../../secret', which is not in train/images"),
    ],
)  # fmt: skip
def test_a_bad_question_is_counted_or_refused(
    tmp_path: Path, record: list[object], problem: str, message: str
) -> None:
    folder = easy(tmp_path / "vqa", train=[["what is it?", "circle", 0], record])
    dataset = run(tmp_path, Source(folder))
    assert dataset.card.counts[problem] == 1
    assert ids(dataset, "train") == ["train/images/0.png#1"]
    assert dataset.card.skipped[0].id == "train/questions.json#2"
    with pytest.raises(InvalidInput, match=message):
        run(tmp_path, Source(folder), bad_files="refuse")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", r"train/questions\.json: is not JSON"),
        ("{}", r"train/questions\.json: is not a list of questions; write \[\["),
        ("[]", r"train/questions\.json: has no questions; write"),
    ],
)
def test_a_file_without_questions_is_refused_under_every_policy(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        run(tmp_path, Source(easy(tmp_path / "vqa", train=text)))


def test_questions_none_of_which_can_be_used_are_refused(tmp_path: Path) -> None:
    folder = easy(tmp_path / "vqa", train=[["a?", "yes", 7]], test=[["a?", "yes", 7]])
    with pytest.raises(InvalidInput, match="no usable picture among 2: 2 missing; for example test/quest"):
        run(tmp_path, Source(folder))
    (folder / "answers.txt").write_text("\n")
    with pytest.raises(InvalidInput, match=r"answers\.txt: names no answers"):
        run(tmp_path, Source(folder))
