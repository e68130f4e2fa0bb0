"""What becomes of files on their way into a dataset."""

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vermeil_data import Dataset, open_dataset
from vermeil_errors import (
    InvalidInput,
    NotFound,
    OutOfSpace,
    PermissionDenied,
    TooLarge,
    VermeilError,
    from_exception,
)
from vermeil_ingest.ingest import Ingestion, ingest
from vermeil_ingest.sources import Source

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of all sorts: good texts, bad files, hidden ones."""
    folder = tmp_path / "shelf"
    (folder / "deep/deeper").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "a.txt").write_text("first text")
    (folder / "b.md").write_bytes(b"\xef\xbb\xbfsecond\r\ntext")
    (folder / "deep/c.py").write_text("third = 'text'\n")
    (folder / "deep/deeper/d.rst.gz").write_bytes(gzip.compress(b"fourth text"))
    (folder / "deep/again.txt").write_text("first text")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_bytes(b" \n\n")
    (folder / "latin.txt").write_bytes(b"na\xefve caf\xe9")
    (folder / "picture.txt").write_bytes(PNG)
    (folder / ".hidden.txt").write_text("not for you")
    (folder / ".git/config.txt").write_text("nor this")
    return folder


def run(tmp_path: Path, *sources: Source, **settings: object) -> Dataset:
    ingestion = Ingestion("texts", sources, **{"validation_fraction": 0.0, **settings})  # type: ignore[arg-type]
    ingest(ingestion, tmp_path / "out", roots=[tmp_path])
    return open_dataset(tmp_path / "out")


def texts(dataset: Dataset) -> dict[str, str]:
    return {sample.id: sample.text for sample in dataset.split("train")}


def test_a_folder_is_read_to_its_depths_in_the_order_of_names(tmp_path: Path, shelf: Path) -> None:
    assert texts(run(tmp_path, Source(shelf))) == {
        "a.txt": "first text",
        "b.md": "second\ntext",
        "latin.txt": "na\ufffdve caf\ufffd",
        "deep/c.py": "third = 'text'\n",
        "deep/deeper/d.rst.gz": "fourth text",
    }


def test_the_card_counts_everything_that_was_left_out(tmp_path: Path, shelf: Path) -> None:
    card = run(tmp_path, Source(shelf, exclude=("*.md",)), origin="a shelf", licence="CC0-1.0").card
    counts = {name: count for name, count in card.counts.items() if count}
    assert counts == {
        "files_found": 8,
        "files_hidden": 1,
        "files_excluded": 1,
        "written": 4,
        "duplicate": 1,
        "empty": 2,
        "binary": 1,
        "replaced_characters": 2,
    }
    assert {entry.id: entry.reason for entry in card.skipped} == {
        "blank.txt": "is empty",
        "empty.txt": "is empty",
        "picture.txt": "is not text: it is a PNG picture",
    }
    assert (card.name, card.source, card.licence) == ("texts", "a shelf", "CC0-1.0")


def test_the_same_files_anywhere_give_the_same_bytes(tmp_path: Path, shelf: Path) -> None:
    first = run(tmp_path, Source(shelf), validation_fraction=0.3).folder.rename(tmp_path / "first")
    (tmp_path / "elsewhere").mkdir()
    moved = shelf.rename(tmp_path / "elsewhere/shelf")
    second = run(tmp_path, Source(moved), validation_fraction=0.3).folder
    names = sorted(path.name for path in first.iterdir())
    assert names == ["dataset.json", "train-00000.arrow", "validation-00000.arrow"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("*.txt",), (), {"a.txt", "deep/again.txt", "latin.txt"}),
        (("**/*.py", "*.md"), (), {"deep/c.py", "b.md"}),
        (("deep/**",), (), {"deep/again.txt", "deep/c.py", "deep/deeper/d.rst.gz"}),
        (("deep/*",), (), {"deep/again.txt", "deep/c.py"}),
        ((), ("deep/**", "[a-z].txt"), {"a.txt", "b.md", "latin.txt"}),
        (("?.*",), ("*.gz",), {"a.txt", "b.md", "deep/c.py"}),
    ],
)
def test_globs_choose_files(
    tmp_path: Path, shelf: Path, include: tuple[str, ...], exclude: tuple[str, ...], expected: set[str]
) -> None:
    found = texts(run(tmp_path, Source(shelf, include, exclude), keep_duplicates=True))
    assert set(found) == expected


@pytest.mark.parametrize("bad", ["empty.txt", "blank.txt", "picture.txt"])
def test_where_bad_files_are_refused_the_first_is_named(tmp_path: Path, shelf: Path, bad: str) -> None:
    with pytest.raises(InvalidInput, match=bad):
        run(tmp_path, Source(shelf, include=(bad, "a.txt")), bad_files="refuse")


def test_invalid_utf8_is_refused_with_its_place_or_left_out_if_so_wished(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(InvalidInput, match=r"latin\.txt: is not valid UTF-8: byte 0xef at offset 2, line 1"):
        run(tmp_path, Source(shelf / "latin.txt"), bad_files="refuse", invalid_text="refuse")
    card = run(tmp_path, Source(shelf, include=("*.txt",)), invalid_text="refuse").card
    assert card.counts["invalid"] == 1
    assert card.counts["replaced_characters"] == 0


def test_duplicates_stay_if_so_wished(tmp_path: Path, shelf: Path) -> None:
    card = run(tmp_path, Source(shelf), keep_duplicates=True).card
    assert (card.counts["written"], card.counts["duplicate"]) == (6, 0)


def test_a_single_file_is_a_source(tmp_path: Path, shelf: Path) -> None:
    assert texts(run(tmp_path, Source(shelf / "deep/c.py"))) == {"c.py": "third = 'text'\n"}


def test_json_lines_give_a_document_a_record(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    records: list[object] = [
        {"question": "1 + 1?", "answer": "2"},
        {"question": "no answer"},
        ["not", "an", "object"],
        {"question": "nul", "answer": "a\0b"},
        {"question": "2 + 2?", "answer": "4"},
    ]
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n\n{broken\n")
    dataset = run(tmp_path, Source(path, fields=("question", "answer")))
    assert texts(dataset) == {"qa.jsonl#1": "1 + 1?\n\n2", "qa.jsonl#5": "2 + 2?\n\n4"}
    assert dataset.card.counts["malformed"] == 3
    assert dataset.card.counts["binary"] == 1
    reasons = [entry.reason for entry in dataset.card.skipped]
    assert reasons[0] == "has no text in field 'answer'; its fields are question"
    assert reasons[-1].startswith("is not JSON: Expecting property name")


def test_a_field_that_no_record_has_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"question": "1 + 1?"}\n'))
    with pytest.raises(
        InvalidInput, match=r"1 malformed; for example .* no text in field 'text'; .* question"
    ):
        run(tmp_path, Source(path))


def test_parquet_files_give_a_document_a_row(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "text": ["one", None, "three"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    dataset = run(tmp_path, Source(tmp_path / "rows.parquet"))
    assert texts(dataset) == {"rows.parquet#1": "one", "rows.parquet#3": "three"}
    assert dataset.card.counts["malformed"] == 1


def test_a_broken_parquet_or_gzip_file_is_left_out_with_its_reason(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "good.txt").write_text("good")
    (shelf / "rows.parquet").write_bytes(b"PAR1 nothing more")
    (shelf / "packed.txt.gz").write_bytes(b"not packed")
    card = run(tmp_path, Source(shelf)).card
    assert card.counts["malformed"] == 2
    assert {entry.id for entry in card.skipped} == {"rows.parquet", "packed.txt.gz"}


def test_a_document_over_the_limit_is_left_out_or_refused(tmp_path: Path, shelf: Path) -> None:
    assert run(tmp_path, Source(shelf), max_document_bytes=10).card.counts["too_large"] == 4
    with pytest.raises(TooLarge, match=r"c\.py: is larger than 10 bytes"):
        run(tmp_path, Source(shelf / "deep/c.py"), max_document_bytes=10, bad_files="refuse")


def test_a_folder_of_bad_files_alone_is_refused_with_what_is_wrong(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        run(tmp_path, Source(shelf, include=("empty.txt", "picture.txt")))
    assert "has no usable text in 2 files: 1 empty, 1 binary; for example empty.txt: is empty" in str(
        error.value
    )


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(InvalidInput, match=r"void: has no files to read \(it is empty\)"):
        run(tmp_path, Source(tmp_path / "void"))


def test_globs_that_match_nothing_are_told_how_much_they_left_out(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(InvalidInput, match=r"has no files to read \(1 hidden, 9 excluded\)"):
        run(tmp_path, Source(shelf, include=("*.docx",)))


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"spec\.sources\[0\]\.uri = '.*gone': does not exist"):
        run(tmp_path, Source(tmp_path / "gone"))


def test_nothing_outside_the_roots_is_read_not_even_through_links(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (inside / "open.txt").write_text("open")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "folder").symlink_to(outside)
    ingestion = Ingestion("texts", (Source(inside),), validation_fraction=0)
    card = ingest(ingestion, tmp_path / "out", roots=[inside])
    assert texts(open_dataset(tmp_path / "out")) == {"open.txt": "open"}
    assert card.counts["files_outside_roots"] == 1
    with pytest.raises(PermissionDenied, match="lies outside the folders this service may read"):
        ingest(Ingestion("texts", (Source(inside / "../outside"),)), tmp_path / "no", roots=[inside])


@pytest.mark.parametrize("name", ["a.txt", "deep"])
def test_what_may_not_be_read_is_left_out_or_refused(tmp_path: Path, shelf: Path, name: str) -> None:
    (shelf / name).chmod(0)
    if os.access(shelf / name, os.R_OK):
        pytest.skip("this user reads everything")
    try:
        assert run(tmp_path, Source(shelf)).card.counts["unreadable"] == 1
        with pytest.raises(PermissionDenied, match=name):
            run(tmp_path, Source(shelf, exclude=("*.txt",) * (name == "deep")), bad_files="refuse")
    finally:
        (shelf / name).chmod(0o755)


def test_a_full_disk_loses_nothing_and_is_told_as_such(tmp_path: Path, shelf: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/train-00000.arrow").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as error:
        run(tmp_path, Source(shelf))
    assert isinstance(from_exception(error.value), OutOfSpace)
    with pytest.raises(NotFound):
        open_dataset(tmp_path / "out")


def test_a_file_name_of_any_bytes_gives_an_id_of_text(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    Path(os.fsdecode(os.fsencode(shelf) + b"/caf\xe9.txt")).write_text("coffee")
    assert texts(run(tmp_path, Source(shelf))) == {"caf\ufffd.txt": "coffee"}


def test_progress_names_the_files_and_may_stop_the_work(tmp_path: Path, shelf: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    ingestion = Ingestion("texts", (Source(shelf, include=("a.txt", "b.md")),), validation_fraction=0)
    ingest(ingestion, tmp_path / "out", roots=[tmp_path], report=lambda *report: seen.append(report))
    assert seen == [(0, 2, "a.txt"), (1, 2, "b.md"), (2, 2, "2 documents")]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(ingestion, tmp_path / "stopped", roots=[tmp_path], report=stop)
    with pytest.raises(VermeilError):
        open_dataset(tmp_path / "stopped")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_fraction": 0.9}, r"spec\.validation_fraction = 0\.9: is out of range"),
        ({"max_document_bytes": -1}, r"spec\.max_file_bytes = -1: must be positive"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Ingestion("texts", (Source(Path("/")),), **settings)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="at least one source"):
        Ingestion("texts", ())
