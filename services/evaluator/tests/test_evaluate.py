"""What an evaluation by folders promises: right numbers, honest intervals, clear errors."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from vermeil_data import TokenizerSpec, encode_dataset, open_dataset
from vermeil_data.encode import fit_tokenizer
from vermeil_errors import InvalidInput, NotFound, VermeilError
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.catalogue import catalogue, perplexity, rolling_perplexity
from vermeil_evaluator.evaluate import Evaluation, Named, evaluate
from vermeil_evaluator.report import Report
from vermeil_model import TextModel, load_checkpoint, save_checkpoint

Write = Callable[..., Path]


def measure(model: Path, dataset: Path, out: Path, task: str = "perplexity", **options: object) -> Report:
    evaluation = Evaluation(task, **options)  # type: ignore[arg-type]
    return evaluate(evaluation, Named("models/m", model), Named("datasets/d", dataset), out)


def numbers(report: Report) -> dict[str, float]:
    return {metric.name: metric.interval.value for metric in report.metrics}


def read_items(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]


def make_uniform(model_folder: Path) -> TextModel:
    model = load_checkpoint(model_folder)
    with torch.no_grad():
        model.embedding.weight.zero_()
    save_checkpoint(model_folder, model)
    return model


def test_the_numbers_are_those_of_their_definition(
    model_folder: Path, many_texts: Path, tmp_path: Path
) -> None:
    report = measure(model_folder, many_texts, tmp_path / "out")
    items = read_items(tmp_path / "out")
    nats = sum(item["nats"] for item in items)
    texts = [sample.text for sample in open_dataset(many_texts).split("validation")]
    num_bytes = sum(len(text.encode()) for text in texts)
    assert report.num_items == len(items) == len(texts) == 40
    assert [item["num_bytes"] for item in items] == [len(text.encode()) for text in texts]
    assert numbers(report)["bits_per_byte"] == pytest.approx(nats / math.log(2) / num_bytes)
    assert numbers(report)["perplexity"] == pytest.approx(math.exp(nats / num_bytes))  # a byte a token


def test_a_model_that_knows_nothing_scores_as_chance_has_it(
    model_folder: Path, many_texts: Path, tmp_path: Path
) -> None:
    vocab_size = make_uniform(model_folder).config.vocab_size
    for metric in measure(model_folder, many_texts, tmp_path / "out").metrics:
        chance = {"perplexity": vocab_size, "bits_per_byte": math.log2(vocab_size)}[metric.name]
        assert metric.interval.low == pytest.approx(chance)
        assert metric.interval.high == pytest.approx(chance)


def test_an_encoded_dataset_gives_the_numbers_of_the_raw_one(
    model_folder: Path, many_texts: Path, encoded_texts: Path, tmp_path: Path
) -> None:
    raw = measure(model_folder, many_texts, tmp_path / "raw-report")
    encoded = measure(model_folder, encoded_texts, tmp_path / "encoded-report")
    assert raw.metrics == encoded.metrics


def test_tasks_with_other_windows_are_told_apart(
    model_folder: Path, many_texts: Path, tmp_path: Path
) -> None:
    half = measure(model_folder, many_texts, tmp_path / "half")
    rolling = measure(model_folder, many_texts, tmp_path / "rolling", task="rolling-perplexity")
    assert half.num_items == rolling.num_items
    assert half.task_hash != rolling.task_hash
    assert numbers(half) != numbers(rolling)


def test_both_tasks_agree_where_documents_fit_into_the_context(
    model_folder: Path, write: Write, tmp_path: Path
) -> None:
    short = write([f"fourteen {index:05}" for index in range(25)])
    half = measure(model_folder, short, tmp_path / "half")
    rolling = measure(model_folder, short, tmp_path / "rolling", task="rolling-perplexity")
    assert numbers(half) == pytest.approx(numbers(rolling), rel=1e-6)


def test_the_interval_holds_the_number_and_a_seed_repeats_it(
    model_folder: Path, many_texts: Path, tmp_path: Path
) -> None:
    once, again, other = (
        measure(model_folder, many_texts, tmp_path / str(number), seed=seed)
        for number, seed in enumerate([1, 1, 2])
    )
    assert once == again
    assert (tmp_path / "0" / "report.json").read_bytes() == (tmp_path / "1" / "report.json").read_bytes()
    assert numbers(once) == numbers(other)
    assert once.metrics != other.metrics
    for metric in once.metrics:
        assert metric.interval.low < metric.interval.value < metric.interval.high
        assert metric.interval.level == 0.95
        assert metric.lower_is_better


def test_a_few_long_documents_are_resampled_by_blocks(
    model_folder: Path, write: Write, tmp_path: Path
) -> None:
    book = write(["It was a dark and stormy night; 漢字 fell in torrents. " * 100, "A short end."])
    report = measure(model_folder, book, tmp_path / "out")
    details = json.loads((tmp_path / "out" / "report.json").read_text())["details"]
    assert details["resampled"] == "blocks of 256 tokens"
    first, second = read_items(tmp_path / "out")
    blocks: list[dict[str, float]] = first["blocks"]
    assert len(blocks) == math.ceil(first["num_tokens"] / 256)
    for name in ("nats", "num_tokens", "num_bytes"):
        assert sum(block[name] for block in blocks) == pytest.approx(first[name])
    assert len(second["blocks"]) == 1
    assert all(metric.interval.low < metric.interval.high for metric in report.metrics)


def test_even_one_short_text_gets_an_interval(model_folder: Path, write: Write, tmp_path: Path) -> None:
    report = measure(model_folder, write(["One sentence is not much to go by."]), tmp_path / "out")
    assert report.num_items == 1
    assert all(metric.interval.low < metric.interval.high for metric in report.metrics)


def test_a_limit_takes_the_first_documents(model_folder: Path, many_texts: Path, tmp_path: Path) -> None:
    everything = measure(model_folder, many_texts, tmp_path / "all")
    some = measure(model_folder, many_texts, tmp_path / "some", limit=30)
    assert some.num_items == 30
    first, same = read_items(tmp_path / "all")[:30], read_items(tmp_path / "some")
    assert [item["id"] for item in first] == [item["id"] for item in same]
    assert [item["nats"] for item in first] == pytest.approx([item["nats"] for item in same])
    assert some.task_hash != everything.task_hash


def test_the_task_hash_depends_on_data_and_not_on_names(
    model_folder: Path, write: Write, tmp_path: Path
) -> None:
    texts = [f"text number {index}" for index in range(20)]
    one, same = (measure(model_folder, write(texts, name), tmp_path / "out") for name in ("one", "same"))
    assert one.task_hash == same.task_hash
    other = measure(model_folder, write([*texts, "more"], "other"), tmp_path / "out")
    assert other.task_hash != one.task_hash
    assert measure(model_folder, tmp_path / "one", tmp_path / "out", split="train").task_hash != one.task_hash


def test_progress_is_told_and_may_stop_the_work(model_folder: Path, many_texts: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, message: str) -> None:
        told.append((done, total))
        if message.startswith("scoring"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluate(
            Evaluation("perplexity"),
            Named("m", model_folder),
            Named("d", many_texts),
            tmp_path / "out",
            progress,
        )
    assert told[0] == (0, 40)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"task": "fid"}, r"spec.task = 'fid': is not a task; use bits-per-byte, captioning"),
        ({"split": "test"}, r"spec.split = 'test': .* no such split; use train or validation"),
        ({"limit": -1}, r"spec.limit = -1"),
        ({"seed": -1}, r"spec.seed = -1"),
    ],
)
def test_a_wrong_wish_is_refused_by_name(
    model_folder: Path, many_texts: Path, tmp_path: Path, options: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        measure(model_folder, many_texts, tmp_path / "out", **options)  # type: ignore[arg-type]


def test_missing_folders_are_named(model_folder: Path, many_texts: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        measure(model_folder, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(NotFound, match="nowhere"):
        measure(tmp_path / "nowhere", many_texts, tmp_path / "out")


def test_a_model_of_another_architecture_is_refused(
    model_folder: Path, many_texts: Path, tmp_path: Path
) -> None:
    config = model_folder / "config.json"
    config.write_text(config.read_text().replace('"vermeil"', '"gpt2"'))
    with pytest.raises(InvalidInput, match="another architecture"):
        measure(model_folder, many_texts, tmp_path / "out")


def test_ids_of_another_tokenizer_are_refused(model_folder: Path, many_texts: Path, tmp_path: Path) -> None:
    raw = open_dataset(many_texts)
    encode_dataset(raw, fit_tokenizer(raw, TokenizerSpec("character")), tmp_path / "other")
    with pytest.raises(InvalidInput, match="another tokenizer than the model's"):
        measure(model_folder, tmp_path / "other", tmp_path / "out")


def test_a_text_the_tokenizer_cannot_write_is_named(
    many_texts: Path, text_model: TextModel, write: Write, tmp_path: Path
) -> None:
    tokenizer = fit_tokenizer(open_dataset(write(["abc"], "letters")), TokenizerSpec("character"))
    tokenizer.save(tmp_path / "character-model")
    save_checkpoint(tmp_path / "character-model", text_model)
    foreign = write(["abc", "Ω"], "foreign")
    with pytest.raises(InvalidInput, match=r"text/1: character 'Ω'"):
        measure(tmp_path / "character-model", foreign, tmp_path / "out")


def test_by_hand_it_prints_the_numbers_and_writes_the_report(
    model_folder: Path, many_texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    assert main(str(model_folder), str(many_texts), "--limit", "25", "--out", str(out)) == 0
    shown = capsys.readouterr().out
    assert "perplexity@1" in shown
    assert "bits_per_byte" in shown
    assert "25 items" in shown
    assert json.loads((out / "report.json").read_text())["num_items"] == 25


def test_by_hand_a_mistake_is_one_sentence_and_an_exit_code(
    model_folder: Path, many_texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(str(model_folder), str(many_texts), "--split", "test") == InvalidInput.exit_code
    assert "use train or validation" in capsys.readouterr().err


def test_every_task_says_what_it_is() -> None:
    assert {perplexity.TASK.name, rolling_perplexity.TASK.name} <= set(catalogue())
    for name, task in catalogue().items():
        assert task.name == name
        assert task.version >= 1
        assert task.description.endswith(".")


def test_errors_of_an_evaluation_are_ours(model_folder: Path, many_texts: Path, tmp_path: Path) -> None:
    (model_folder / "model.safetensors").write_bytes(b"\x80\x04not a tensor")
    with pytest.raises(VermeilError, match="pickle"):
        measure(model_folder, many_texts, tmp_path / "out")
