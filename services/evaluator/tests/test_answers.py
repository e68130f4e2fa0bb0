"""An answer is asked for once: by the same run, by the next one, by one that goes on after a kill."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vermeil_data.testing import documents
from vermeil_errors import DataCorrupted, InvalidInput
from vermeil_evaluator.ask import Asker
from vermeil_evaluator.cache import FILE, AnswerCache
from vermeil_evaluator.evaluate import Evaluation, Named, Subjects, evaluate, measure
from vermeil_evaluator.item import Item
from vermeil_evaluator.models.fake import FakeModel
from vermeil_evaluator.report import Report
from vermeil_evaluator.requests import (
    Answer,
    Continuation,
    Embed,
    Embedding,
    FlowLoss,
    GenerateUntil,
    ImageLoss,
    Loglikelihood,
    Picture,
    Request,
    SampleImage,
    TokenLikelihoods,
    content,
    from_bytes,
    key,
    to_bytes,
)

Write = Callable[..., Path]
TEXTS, FILES = st.text(max_size=5), st.binary(max_size=4)
REQUESTS = st.one_of(
    st.builds(Loglikelihood, TEXTS, TEXTS, st.sampled_from(["half", "rolling"])),
    st.builds(
        GenerateUntil, TEXTS, st.tuples(TEXTS), st.integers(1, 9), images=st.tuples(FILES) | st.just(())
    ),
    st.builds(SampleImage, TEXTS, st.integers(0, 9)),
    st.builds(ImageLoss, FILES, TEXTS, st.integers(0, 9)),
    st.builds(Embed, TEXTS, FILES),
)


@given(REQUESTS, REQUESTS)
def test_requests_have_one_key_only_if_they_are_equal(one: Request, other: Request) -> None:
    assert (content(one) == content(other)) == (one == other and type(one) is type(other))
    assert key("m", "t@1", one) != key("n", "t@1", one)
    assert key("m", "t@1", one) != key("m", "t@2", one)


def test_requests_about_text_alone_are_known_by_the_keys_they_always_had() -> None:
    asked = GenerateUntil("Is it?", ("\n",), 9)
    assert content(asked) == (
        '{"max_tokens": 9, "prompt": "Is it?", "request": "GenerateUntil", "seed": 0, "stop": ["\\n"], '
        '"temperature": 0.0}'
    )


@pytest.mark.parametrize(
    "answer",
    [
        TokenLikelihoods(np.array([1, 2**31], np.uint32), np.array([0.1, 3e-9], np.float32)),
        TokenLikelihoods(np.zeros(0, np.uint32), np.zeros(0, np.float32)),
        Continuation("größer\n", "stop", 3),
        Picture(b"\x89PNG\x00\xff"),
        FlowLoss(0.1),
        Embedding(np.array([1.5], np.float32), np.zeros(0, np.float32)),
    ],
)
def test_an_answer_survives_being_kept(answer: Answer) -> None:
    again = from_bytes(to_bytes(answer))
    assert type(again) is type(answer)
    for one, other in zip(vars(answer).values(), vars(again).values(), strict=True):
        assert np.array_equal(one, other)


def run(model: FakeModel, data: Path, folder: Path, cache: AnswerCache, **options: int) -> Report:
    subjects = Subjects(model, "models/fake", Named("datasets/d", data))
    evaluation = Evaluation("perplexity", **options)  # type: ignore[arg-type]
    return measure(evaluation, subjects, folder, cache, lambda *_: None)


def test_a_second_run_asks_nothing_and_finds_the_same(many_texts: Path, tmp_path: Path) -> None:
    model, again = FakeModel(), FakeModel()
    with AnswerCache(tmp_path / "answers") as cache:
        first = run(model, many_texts, tmp_path / "first", cache)
    with AnswerCache(tmp_path / "answers") as cache:
        second = run(again, many_texts, tmp_path / "second", cache)
        assert (cache.num_found, cache.num_kept) == (40, 0)
    assert len(model.asked) == 40
    assert again.asked == []
    assert first == second
    for name in ("report.json", "items.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_only_what_is_new_is_asked(many_texts: Path, tmp_path: Path) -> None:
    model = FakeModel()
    with AnswerCache(tmp_path / "answers") as cache:
        run(model, many_texts, tmp_path / "some", cache, limit=25)
        assert len(model.asked) == 25
        run(model, many_texts, tmp_path / "all", cache)
        assert len(model.asked) == 40
        run(model, many_texts, tmp_path / "all", cache, seed=7)
        assert len(model.asked) == 40
        other = FakeModel("sha256:other")
        run(other, many_texts, tmp_path / "all", cache)
        assert len(other.asked) == 40


def test_the_network_is_not_even_loaded_for_what_is_known(
    model_folder: Path, many_texts: Path, tmp_path: Path
) -> None:
    def once(folder: str) -> Report:
        named = Named("m", model_folder, "sha256:known"), Named("d", many_texts)
        return evaluate(Evaluation("perplexity"), *named, tmp_path / folder, cache=tmp_path / "answers")

    first = once("first")
    (model_folder / "model.safetensors").unlink()
    assert once("second") == first


def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path) -> None:
    model, num_batches = FakeModel(batch=3), 0

    def fail_later() -> None:
        nonlocal num_batches
        num_batches += 1
        if num_batches > 4:
            raise InterruptedError

    items = [Item(str(index), {}) for index in range(20)]

    def prompt(item: Item) -> list[Request]:
        return [Loglikelihood(f"text {item.id}"), Loglikelihood("the same for all")]

    with AnswerCache(tmp_path) as cache:
        with pytest.raises(InterruptedError):
            list(Asker(model, cache, "t@1", fail_later).about(items, prompt))
        num_kept = len(cache)
        assert num_kept >= 3
        before = len(model.asked)
        found = list(Asker(model, cache, "t@1").about(items, prompt))
    assert [item.id for item, _ in found] == [item.id for item in items]
    assert all(len(answers) == 2 for _, answers in found)
    assert {content(request) for request in model.asked[:before]} & {
        content(request) for request in model.asked[before:]
    } <= {content(request) for request in model.asked[num_kept:before]} | {content(prompt(items[0])[1])}


def test_a_damaged_answer_is_asked_for_again(many_texts: Path, tmp_path: Path) -> None:
    model = FakeModel()
    with AnswerCache(tmp_path / "answers") as cache:
        first = run(model, many_texts, tmp_path / "first", cache)
    with sqlite3.connect(tmp_path / "answers" / FILE) as database:
        one = "(SELECT key FROM answers LIMIT 1)"
        database.execute(f"UPDATE answers SET answer = x'7b7d' WHERE key IN {one}")
    database.close()
    with AnswerCache(tmp_path / "answers") as cache:
        assert run(model, many_texts, tmp_path / "second", cache) == first
    assert len(model.asked) == 41


def test_a_file_that_is_no_cache_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"something else, and long enough to be looked at" * 50)
    with pytest.raises(DataCorrupted, match="delete it; it is only a cache"):
        AnswerCache(tmp_path)


def test_two_runs_may_share_a_cache(many_texts: Path, tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "answers") as one, AnswerCache(tmp_path / "answers") as other:
        first = run(FakeModel(), many_texts, tmp_path / "first", one)
        model = FakeModel()
        assert run(model, many_texts, tmp_path / "second", other) == first
        assert model.asked == []


HELD = """
import sys, threading
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.cache import AnswerCache

put = AnswerCache.put

def put_and_stand_still(cache, answers):
    put(cache, answers)
    print("kept", flush=True)
    threading.Event().wait()

AnswerCache.put = put_and_stand_still
main(*sys.argv[1:])
"""


def test_a_killed_evaluation_goes_on_where_it_was(model_folder: Path, write: Write, tmp_path: Path) -> None:
    texts = write([text * 8 for text in documents(400)], "long")
    arguments = [str(model_folder), str(texts), "--cache", str(tmp_path / "answers"), "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    held = [sys.executable, "-c", HELD, *arguments, str(tmp_path / "killed")]
    with subprocess.Popen(held, env=environment, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "kept\n"
        killed.kill()
    with AnswerCache(tmp_path / "answers") as cache:
        known = len(cache)
    assert 0 < known < 400
    assert not (tmp_path / "killed").exists()
    again = [sys.executable, "-m", "vermeil_evaluator", *arguments, str(tmp_path / "after")]
    after = subprocess.run(again, env=environment, check=True, capture_output=True, text=True)
    assert f"{400 - known} answers of the model, {known} known before" in after.stdout
    whole = Named("m", model_folder), Named("d", texts)
    evaluate(Evaluation("perplexity"), *whole, tmp_path / "whole")
    assert (tmp_path / "after" / "items.jsonl").read_bytes() == (
        tmp_path / "whole" / "items.jsonl"
    ).read_bytes()
    metrics = [
        json.loads((tmp_path / each / "report.json").read_text())["metrics"] for each in ("after", "whole")
    ]
    assert metrics[0] == metrics[1]


def test_items_among_which_one_cannot_be_asked_about_are_named() -> None:
    class Picky(FakeModel):
        def _one(self, request: Request) -> Answer:
            if isinstance(request, Loglikelihood) and request.text == "text 5":
                raise InvalidInput("cannot read it")
            return super()._one(request)

    items = [Item(f"document/{index}", {}) for index in range(8)]
    with (
        AnswerCache(None) as cache,
        pytest.raises(InvalidInput, match="one of document/4 to document/5: cannot read it"),
    ):
        list(Asker(Picky(), cache, "t@1").about(items, lambda item: [Loglikelihood(f"text {item.id[-1]}")]))


def test_a_batch_that_cannot_be_answered_is_not_laid_on_its_last_item() -> None:
    class LooksLate(FakeModel):
        def answer(
            self, requests: Iterable[Request], check: Callable[[], None]
        ) -> Iterator[Sequence[Answer]]:
            batch = list(requests)  # as networks read: all of a batch, then each
            yield [self._one(request) for request in batch]

        def _one(self, request: Request) -> Answer:
            raise InvalidInput("cannot read it")

    items = [Item(f"document/{index}", {}) for index in range(8)]
    with AnswerCache(None) as cache, pytest.raises(InvalidInput, match="one of document/0 to document/7: c"):
        list(Asker(LooksLate(), cache, "t@1").about(items, lambda item: [Loglikelihood(item.id)]))
    with AnswerCache(None) as cache, pytest.raises(InvalidInput, match=r"^document/0: cannot read it"):
        list(Asker(LooksLate(), cache, "t@1").about(items[:1], lambda item: [Loglikelihood(item.id)]))
