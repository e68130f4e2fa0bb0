"""Two reports are compared item by item, or refused with what differs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vermeil_data.testing import documents
from vermeil_errors import Conflict, DataCorrupted, NotFound
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.cache import AnswerCache
from vermeil_evaluator.compare import compare
from vermeil_evaluator.evaluate import Evaluation, Named, Subjects, measure
from vermeil_evaluator.models.fake import FakeModel
from vermeil_evaluator.page import PAGE_FILE
from vermeil_evaluator.report import Findings, read_report, write_report

Write = Callable[..., Path]


class Graded(FakeModel):
    """Costs as many nats a byte as it is told, with an own mood about every text."""


def report(out: Path, data: Path, nats: float, digest: str = "a", **options: Any) -> Findings:
    subjects = Subjects(Graded(digest, nats_per_byte=nats), f"models/{digest}", Named("d", data))
    with AnswerCache(None) as cache:
        measure(Evaluation("perplexity", **options), subjects, out, cache, lambda *_: None)
    return read_report(out)


def test_a_model_does_not_differ_from_itself(many_texts: Path, tmp_path: Path) -> None:
    one, same = (report(tmp_path / name, many_texts, 2.0) for name in ("one", "same"))
    found = compare(one, same)
    assert [each.name for each in found.metrics] == ["bits_per_byte", "perplexity"]
    for each in found.metrics:
        assert (each.difference.value, each.p_value) == (0.0, 1.0)
        assert each.verdict == "no difference shown"


def test_a_better_model_is_told_by_its_items(many_texts: Path, tmp_path: Path) -> None:
    good, bad = (
        report(tmp_path / "good", many_texts, 1.9, "g"),
        report(tmp_path / "bad", many_texts, 2.0, "b"),
    )
    found = compare(good, bad)
    for each in found.metrics:
        assert each.difference.high < 0
        assert each.p_value < 0.001
        assert each.verdict == "first is better"
    assert {each.verdict for each in compare(bad, good).metrics} == {"second is better"}


def test_a_few_long_documents_are_compared_by_blocks(write: Write, tmp_path: Path) -> None:
    book = write(["It was a dark and stormy night; 漢字 fell in torrents. " * 100])
    found = compare(report(tmp_path / "one", book, 1.9, "g"), report(tmp_path / "other", book, 2.0, "b"))
    assert found.num_items == 1
    assert found.metrics[0].verdict == "first is better"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task": "perplexity@2"}, "different versions of the task: perplexity@1 and perplexity@2"),
        ({"task": "fid@1", "definition": {"task": "fid"}}, "different tasks: perplexity@1 and fid@1"),
    ],
)
def test_other_versions_and_tasks_are_refused(
    many_texts: Path, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    one, _ = (report(tmp_path / name, many_texts, 2.0) for name in ("one", "other"))
    path = tmp_path / "other" / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(Conflict, match=re.escape(problem)):
        compare(one, read_report(tmp_path / "other"))


def test_other_data_and_other_limits_are_refused(many_texts: Path, write: Write, tmp_path: Path) -> None:
    one = report(tmp_path / "one", many_texts, 2.0)
    with pytest.raises(Conflict, match="differ in their data"):
        compare(one, report(tmp_path / "data", write(documents(40), "others"), 2.0))
    with pytest.raises(Conflict, match="differ in their limit"):
        compare(one, report(tmp_path / "limit", many_texts, 2.0, limit=30))


def test_perplexity_is_left_out_where_tokens_differ(many_texts: Path, tmp_path: Path) -> None:
    one, _ = (report(tmp_path / name, many_texts, 2.0) for name in ("one", "other"))
    path = tmp_path / "other" / "items.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps({**item, "num_tokens": item["num_tokens"] - 1}) + "\n" for item in items)
    )
    found = compare(one, read_report(tmp_path / "other"))
    assert [each.name for each in found.metrics] == ["bits_per_byte"]
    assert found.left_out == {"perplexity": "the models cut the text into different tokens"}


def test_by_hand_a_comparison_is_a_table(
    many_texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path / "good", many_texts, 1.5, "good")
    report(tmp_path / "bad", many_texts, 2.5, "bad")
    assert main("compare", str(tmp_path / "good"), str(tmp_path / "bad")) == 0
    shown = capsys.readouterr().out
    assert "models/good minus models/bad, 40 items" in shown
    assert "first is better" in shown
    assert main("compare", str(tmp_path / "good"), str(tmp_path / "nowhere")) == NotFound.exit_code
    assert "no report here" in capsys.readouterr().err


def test_a_damaged_report_is_named(many_texts: Path, tmp_path: Path) -> None:
    report(tmp_path / "one", many_texts, 2.0)
    (tmp_path / "one" / "report.json").write_text("{}")
    with pytest.raises(DataCorrupted, match=r"one/report\.json"):
        read_report(tmp_path / "one")


def test_whatever_a_model_writes_can_be_read_again(many_texts: Path, tmp_path: Path) -> None:
    written = report(tmp_path / "one", many_texts, 2.0)
    rows = [{"id": "1", "answer": "a\u2028b\u2029c\x85d\r\ne"}]
    write_report(tmp_path / "one", written.report, rows, {"seed": 0})
    assert read_report(tmp_path / "one").items == rows


def test_the_page_needs_nothing_from_elsewhere_and_is_drawn_again_from_the_folder(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = write([f"<script>alert({number})</script> " * (number + 1) for number in range(30)])
    report(tmp_path / "one", texts, 2.0, "<b>model</b>")
    path = tmp_path / "one" / PAGE_FILE
    page = path.read_text()
    assert "&lt;b&gt;model" in page
    assert "<b>model" not in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "bits_per_byte" in page
    assert "<polyline" in page
    path.unlink()
    assert main("report", str(tmp_path / "one")) == 0
    assert path.read_text() == page
