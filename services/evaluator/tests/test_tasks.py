"""Tasks of questions: right numbers on answers we know, data refused by line, the user's own files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from vermeil_data import Sample, write_dataset
from vermeil_errors import Conflict, InvalidInput, NotFound
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.cache import AnswerCache
from vermeil_evaluator.catalogue import catalogue, find_task
from vermeil_evaluator.evaluate import Evaluation, Named, Subjects, measure
from vermeil_evaluator.models.fake import FakeModel
from vermeil_evaluator.report import Findings, read_report
from vermeil_metrics import cider_d

CHOICES = [
    {"question": "Sky?", "choices": ["blue", "green"], "answer": 0, "image": "a.png"},
    {"question": "Grass?", "choices": ["red", "green"], "answer": "green", "image": "a.png"},
    {
        "question": "Snow?",
        "choices": ["a colour that nobody has seen", "white"],
        "answer": 0,
        "image": "b.png",
    },
]
SUMS = [
    {"question": "48/2?", "answer": "It is <<48/2=24>>24.\n#### 24"},
    {"question": "70,000?", "answer": "#### 70,000"},
    {"question": "Capital of France?", "answer": "Paris"},
]


def write_lines(path: Path, lines: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(model: FakeModel, task: str, data: Path, out: Path, **options: Any) -> Findings:
    subjects = Subjects(model, "models/fake", Named(data.name, data))
    with AnswerCache(None) as cache:
        measure(Evaluation(task, **options), subjects, out, cache, lambda *_: None)
    return read_report(out)


def numbers(found: Findings) -> dict[str, float]:
    return {metric.name: metric.interval.value for metric in found.report.metrics}


def test_the_likeliest_choice_is_the_answer_by_sum_and_by_byte(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "choices.jsonl", CHOICES)
    found = run(FakeModel(likes=[" blue", " red"]), "multiple-choice", data, tmp_path / "out")
    assert [item["acc"] for item in found.items] == [1.0, 0.0, 0.0]  # a short answer costs less
    assert numbers(found)["acc"] == pytest.approx(1 / 3)
    assert [item["group"] for item in found.items] == ["a.png", "a.png", "b.png"]
    assert found.items[0]["expected"] == "blue"
    liked = FakeModel(likes=[" blue", " green", " a colour that nobody has seen"])
    assert numbers(run(liked, "multiple-choice", data, tmp_path / "liked"))["acc_norm"] == 1.0


def test_the_last_number_counts_where_the_reference_has_one(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "sums.jsonl", SUMS)
    prompts = [f"Question: {each['question']}\nAnswer:" for each in SUMS]
    answers = [" That makes <<24>>24.0", " 7,0000 or 70000, no: 70,001", " paris.\n\nQuestion: Why?"]
    model = FakeModel(answers=dict(zip(prompts, answers, strict=True)))
    found = run(model, "exact-match", data, tmp_path / "out")
    assert [item["exact_match"] for item in found.items] == [1.0, 0.0, 1.0]
    assert found.items[1]["said"] == "70001"
    assert found.items[2]["answer"] == "paris."


def test_overlap_is_that_of_the_texts(tmp_path: Path) -> None:
    references = [[f"a dog number {number} on green grass", "a dog"] for number in range(6)]
    texts = [f"a dog number {number} in green grass" for number in range(6)]
    lines = [{"prompt": f"{number}:", "references": each} for number, each in enumerate(references)]
    model = FakeModel(answers={f"{number}:": f" {text}\nmore" for number, text in enumerate(texts)})
    found = run(model, "text-overlap", write_lines(tmp_path / "captions.jsonl", lines), tmp_path / "out")
    streams = [list(stream) for stream in zip(*references, strict=True)]
    assert numbers(found)["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, streams).score)
    assert numbers(found)["cider_d"] == pytest.approx(cider_d(texts, references).mean())
    assert 0 < numbers(found)["rouge_l"] < 1


def test_a_line_ends_at_a_newline_and_nothing_else_that_a_text_may_hold(tmp_path: Path) -> None:
    question = "One\u2028two\x85?"
    line = json.dumps({"question": question, "answer": "three"}, ensure_ascii=False)
    (tmp_path / "lines.jsonl").write_bytes(f"{line}\r\n\n{line}".encode())
    found = run(FakeModel(), "exact-match", tmp_path / "lines.jsonl", tmp_path / "out")
    assert [item["prompt"] for item in found.items] == [question] * 2


def test_an_option_changes_what_is_asked_and_what_it_may_be_compared_with(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "sums.jsonl", SUMS)
    model = FakeModel()
    plain = run(model, "exact-match", data, tmp_path / "plain")
    short = run(model, "exact-match", data, tmp_path / "short", options={"max_tokens": "9"})
    assert {request.max_tokens for request in model.asked} == {256, 9}  # type: ignore[union-attr]
    assert plain.report.task_hash != short.report.task_hash
    assert short.report.definition["options"] == {"max_tokens": 9}


def test_lines_may_be_the_samples_of_a_dataset(tmp_path: Path) -> None:
    samples = [Sample.of_text(json.dumps(line), id=f"line/{index}") for index, line in enumerate(SUMS)]
    write_dataset(tmp_path / "dataset", {"train": [], "validation": samples}, "sums")
    lines = write_lines(tmp_path / "sums.jsonl", SUMS)
    one = run(FakeModel(), "exact-match", tmp_path / "dataset", tmp_path / "one")
    other = run(FakeModel(), "exact-match", lines, tmp_path / "other")
    assert one.report.task_hash == other.report.task_hash
    assert one.report.data == "dataset#validation"
    assert other.report.data == "sums.jsonl"


@pytest.mark.parametrize(
    ("task", "text", "problem"),
    [
        (
            "exact-match",
            '{"question": "a", "answer": "b"}\n\n{"question": "a"}',
            "line 3: field 'answer' is missing; the line has question",
        ),
        ("exact-match", '{"question": 3, "answer": "b"}', "line 1: field 'question' must be a text"),
        ("exact-match", '{"question": "a", "answer": "b"}\nnonsense', "line 2: is not JSON"),
        ("exact-match", "[1, 2]", "line 1: is not a JSON object; needed: question, answer"),
        ("exact-match", "\n  \n", "holds no questions"),
        (
            "multiple-choice",
            '{"question": "a", "choices": ["b"], "answer": 0}',
            "line 1: field 'choices' must be two or more",
        ),
        (
            "multiple-choice",
            '{"question": "a", "choices": ["b", "c"], "answer": 2}',
            "line 1: field 'answer' = 2 is none of 2",
        ),
        (
            "multiple-choice",
            '{"question": "a", "choices": ["b", "c"], "answer": true}',
            "line 1: field 'answer' must be",
        ),
        (
            "multiple-choice",
            '{"question": "a", "choices": "bc", "answer": 1}',
            "field 'choices' must be a list",
        ),
        (
            "text-overlap",
            '{"prompt": "a", "references": []}',
            "line 1: field 'references' must be one or more",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_by_line_and_field(
    tmp_path: Path, task: str, text: str, problem: str
) -> None:
    (tmp_path / "bad.jsonl").write_text(text)
    model = FakeModel()
    with pytest.raises(InvalidInput, match=problem.replace("(", r"\(")):
        run(model, task, tmp_path / "bad.jsonl", tmp_path / "out")
    assert model.asked == []
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_there_or_not_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"absent\.jsonl"):
        run(FakeModel(), "exact-match", tmp_path / "absent.jsonl", tmp_path / "out")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "gr\xf6\xdfer", "answer": "b"}')
    with pytest.raises(InvalidInput, match="not UTF-8 at byte 16"):
        run(FakeModel(), "exact-match", tmp_path / "latin.jsonl", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_token": "3"}, "spec.options.max_token = '3': is no option of exact-match; known: max_tokens"),
        ({"max_tokens": "many"}, "spec.options.max_tokens = 'many': is not a whole number; write 256"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Evaluation("exact-match", options=options)


CAPITALS = '''
"""Does the model know capitals?"""
from vermeil_evaluator.questions import questions
from vermeil_evaluator.requests import GenerateUntil
from vermeil_evaluator.task import Task, mean

TASK = Task(
    name="capitals", version=1, description="Share of capitals known.", request=GenerateUntil,
    data=questions(country=str, capital=str),
    prompt=lambda item, run: [GenerateUntil(f"{item['country']}:", stop=("\\n",), max_tokens=8)],
    score=lambda item, answers, run: {"known": float(answers[0].text.strip() == item["capital"])},
    metrics=(mean("known"),),
)
'''


def test_a_task_is_one_file_of_the_users(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "capitals.py").write_text(CAPITALS)
    (tasks / "helper.py").write_text("NUMBER = 1\n")
    data = write_lines(tmp_path / "capitals.jsonl", [{"country": "Peru", "capital": "Lima"}] * 3)
    out = str(tmp_path / "out")
    arguments = (str(model_folder), str(data), "--task", "capitals", "--include-path", str(tasks))
    assert main(*arguments, "--cache", str(tmp_path / "answers"), "--out", out) == 0
    assert "capitals@1" in capsys.readouterr().out
    assert main("tasks", "--include-path", str(tasks)) == 0
    assert "Share of capitals known." in capsys.readouterr().out
    assert "capitals" not in catalogue()


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        ("TASK = 3", InvalidInput, r"own\.py: TASK is a int, not a Task"),
        ("import nothing_of_that_name", InvalidInput, r"own\.py: ModuleNotFoundError"),
        ("TASK =", InvalidInput, r"own\.py: SyntaxError"),
        (CAPITALS.replace('"capitals"', '"perplexity"'), Conflict, r"own\.py.*a task of this name already"),
    ],
)
def test_a_wrong_task_file_is_named(tmp_path: Path, text: str, error: type[Exception], problem: str) -> None:
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(error, match=problem):
        find_task("capitals", (tmp_path,))
    with pytest.raises(NotFound, match="no such folder of tasks"):
        find_task("capitals", (tmp_path / "absent",))


def test_a_group_of_questions_is_one_piece_of_evidence(tmp_path: Path) -> None:
    lines = [
        {"question": f"{picture}-{number}", "choices": ["y", "n"], "answer": 0, "image": f"{picture}.png"}
        for picture in range(12)
        for number in range(8)
    ]
    alone = [{**line, "image": None} for line in lines]

    class Moody(FakeModel):
        """Right about even pictures, wrong about odd ones."""

        def _one(self, request: Any) -> Any:
            even = int(request.context.split(": ")[1].split("-")[0]) % 2 == 0
            self._likes = frozenset([" y" if even else " n"])
            return super()._one(request)

    widths = []
    for name, questions in (("grouped", lines), ("alone", alone)):
        data = write_lines(tmp_path / f"{name}.jsonl", questions)
        found = run(Moody(), "multiple-choice", data, tmp_path / name)
        interval = found.report.metrics[0].interval
        assert interval.value == 0.5
        widths.append(interval.high - interval.low)
    assert widths[0] > 2 * widths[1]
