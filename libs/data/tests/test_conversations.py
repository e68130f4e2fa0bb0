"""What training may rely on when samples in chat style are told in conversations."""

import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vermeil_data import (
    EncodedSamples,
    MixedBatch,
    MixedLoader,
    MixedLoaderState,
    Sample,
    Segment,
)
from vermeil_data.mixed_tasks import task_samples
from vermeil_data.spelling import Marks
from vermeil_data.testing import encoded_samples
from vermeil_data.windows import IGNORED

from .mixtures import CAPTIONING, DRAWING, LM, TALK, VQA, loader, mixture, told
from .mixtures import sources as make_sources

Sources = dict[str, EncodedSamples]
NAMING = {**CAPTIONING, "style": "chat"}
PAINTING = {**DRAWING, "style": "chat"}
TASKS = [LM, NAMING, VQA, PAINTING]
SHOWN = r"<boi>▢<eoi>"
QUESTION = r"(what is it\?|is it a \w+\?)"
TURNS = rf"<\|user\|>({SHOWN}|({SHOWN})?{QUESTION})<\|end\|><\|assistant\|>[\w ]+"
PAINTED = r"<\|user\|>[\w ]+<\|end\|><\|assistant\|><boi>"
ROOMY = {"text_slots": 400, "picture_slots": 8}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return make_sources(tmp_path_factory.mktemp("sources"))


def talking(
    sources: Sources, most: int = 3, tasks: list[dict[str, str]] | None = None, **form: Any
) -> MixedLoader:
    return loader(sources, tasks or TASKS, {"samples_per_conversation": most}, **{**ROOMY, **form})


def take(found: MixedLoader, count: int) -> list[MixedBatch]:
    return list(islice(found, count))


def spoken(text: str) -> str:
    """A conversation as told, up to its targets; the marks have bars too."""
    return re.match(r"(?:<\|\w+\|>|[^|])*", text).group()  # type: ignore[union-attr]


def texts_of(sources: Sources, found: MixedLoader, count: int) -> list[str]:
    tokenizer = next(iter(sources.values())).tokenizer
    every = [spoken(text) for batch in take(found, count) for _, text in told(batch, tokenizer)]
    return [text for text in every if text.startswith("<bos><|user|>")]


def test_samples_of_several_tasks_go_into_conversations_of_one_to_so_many(sources: Sources) -> None:
    found = texts_of(sources, talking(sources, tasks=[LM, NAMING, PAINTING]), 40)
    pattern = rf"<bos>({TURNS}<\|end\|>|{PAINTED}▨▢<eoi><\|end\|>)*({TURNS}|{PAINTED}▨<eoi>)"
    assert all(re.fullmatch(pattern, text) for text in found)
    lengths = Counter(text.count("<|user|>") for text in found)
    assert set(lengths) == {1, 2, 3}
    assert min(lengths.values()) > len(found) / 6
    assert sum("▨▢" in text and "<boi>▢" in text for text in found) > len(found) / 10


def test_questions_on_one_picture_become_turns_that_show_it_once(sources: Sources) -> None:
    found = texts_of(sources, talking(sources, 2, [VQA]), 6)
    again = [
        text for text in found if re.search(rf"{SHOWN}{QUESTION}<\|end\|><\|assistant\|>\w+<\|end\|>", text)
    ]
    followed = [text for text in found if re.search(rf"<\|end\|><\|user\|>{QUESTION}", text)]
    assert again
    assert 0 < len(followed) < len(found)
    told_of = Counter(question for text in found for question in re.findall(QUESTION, text))
    assert told_of["what is it?"] == pytest.approx(sum(told_of.values()) / 2, abs=2)


def test_questions_on_one_picture_that_would_not_fit_together_are_told_alone(sources: Sources) -> None:
    found = texts_of(sources, talking(sources, 2, [VQA], text_slots=32, picture_slots=1), 12)
    assert found
    assert all(text.count("<|user|>") == 1 for text in found)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_every_question_comes_once_an_epoch(sources: Sources, most: int) -> None:
    tokenizer, samples = sources["questions"].tokenizer, sources["questions"].samples("train")
    (task,) = mixture([VQA]).tasks
    found = task_samples(samples, task, Marks.of(tokenizer, chat=True), (400, 8), (0, 0), most=most)
    assert 12 <= found.num_samples <= 24
    for epoch in range(2):
        pieces = found.pieces(np.arange(found.num_samples) + epoch * found.num_samples)
        texts = pieces.begin_P[(pieces.mark_P < 0) & (pieces.picture_P < 0)]
        assert sorted(texts.tolist()) == sorted(
            samples.text_offsets[np.flatnonzero(samples.pictures_K < 0)].tolist()
        )
        assert (pieces.picture_P >= 0).sum() == found.num_samples


def test_a_conversation_is_spelled_as_the_tokenizer_does(sources: Sources, tmp_path: Path) -> None:
    tokenizer = sources["texts"].tokenizer
    asked = (Segment("text", "given", text="two and two?"), Segment("text", text="four"))
    encoded = encoded_samples(tmp_path, {"train": [Sample(asked)]}, tokenizer)
    task = {"kind": "interleaved", "source": "sums", "style": "chat"}
    found = talking({"sums": encoded}, 3, [task], rows=1, text_slots=80, picture_slots=0)
    once = [{"role": "user", "content": "two and two?"}, {"role": "assistant", "content": "four"}]
    rows, samples = zip(
        *((batch.tokens_BT[0], batch.text_sample_BT[0]) for batch in take(found, 8)), strict=True
    )
    lengths = set()
    for tokens, sample in zip(rows, samples, strict=True):
        of_first = tokens[sample == 0].tolist()
        turns = round((len(of_first) - 1) / 20)
        expected = tokenizer.apply_chat_template(once * turns, add_generation_prompt=False)
        assert of_first == expected[:-1]
        lengths.add(turns)
    assert len(lengths) > 1


def test_ends_of_turns_are_learned_and_what_is_given_is_not(sources: Sources) -> None:
    tokenizer = sources["texts"].tokenizer
    batches = take(talking(sources), 12)
    for batch in batches:
        learned = batch.targets_BT != IGNORED
        inside = (batch.text_sample_BT[:, 1:] == batch.text_sample_BT[:, :-1]) & learned[:, :-1]
        next_order = batch.text_order_BT[:, 1:] == batch.text_order_BT[:, :-1] + 1
        follows = inside & next_order
        assert torch.equal(batch.tokens_BT[:, 1:][follows], batch.targets_BT[:, :-1][follows])
        end, user = (tokenizer.mark_id(mark) for mark in ("<|end|>", "<|user|>"))
        before_user = batch.tokens_BT[:, 1:] == user
        ends = before_user & (batch.tokens_BT[:, :-1] == end)
        assert (batch.targets_BT[:, :-1][ends] == IGNORED).all()
        assert not (batch.targets_BT == user).any()


def test_orders_and_positions_go_on_through_a_conversation(sources: Sources) -> None:
    for batch in take(talking(sources), 8):
        for row in range(4):
            for sample in range(int(batch.text_sample_BT[row].max()) + 1):
                text, pictures = batch.text_sample_BT[row] == sample, batch.picture_sample_BM[row] == sample
                placed = dict(
                    zip(
                        batch.text_order_BT[row][text].tolist(),
                        batch.text_position_BT[row][text].tolist(),
                        strict=True,
                    )
                )
                orders, positions, noisy = (
                    tensor[row][pictures].tolist()
                    for tensor in (batch.picture_order_BM, batch.picture_position_BM, batch.picture_noisy_BM)
                )
                shown: dict[int, set[int]] = {}
                for order, position in zip(orders, positions, strict=True):
                    shown.setdefault(order, set()).add(position)
                    assert order not in placed
                assert all(len(where) == 1 for where in shown.values())
                assert sum(not each for each in noisy) <= len(shown)
                steps = {**dict.fromkeys(placed, 1), **dict.fromkeys(shown, 2)}
                where = {**placed, **{order: positions.pop() for order, positions in shown.items()}}
                expected = 0
                for order in sorted(steps):
                    assert where[order] == expected
                    expected += steps[order]


def test_a_drawn_picture_that_a_conversation_goes_on_from_comes_twice(sources: Sources) -> None:
    batches = take(talking(sources, 3, [PAINTING], picture_slots=7), 6)
    twice = 0
    for batch in batches:
        for row in range(4):
            for sample in range(int(batch.picture_sample_BM[row].max()) + 1):
                slots = (batch.picture_sample_BM[row] == sample).nonzero().flatten()
                orders = Counter(batch.picture_order_BM[row][slots].tolist())
                for order, times in orders.items():
                    both = slots[batch.picture_order_BM[row][slots] == order]
                    assert batch.picture_noisy_BM[row][both].tolist() == [True, False][:times]
                    assert torch.equal(batch.pixels_BMCHW[row][both[0]], batch.pixels_BMCHW[row][both[-1]])
                    assert times == (1 if order == max(orders) else 2)
                    twice += times - 1
    assert twice > 10


def test_nothing_follows_a_sample_that_ends_with_what_is_given(sources: Sources, tmp_path: Path) -> None:
    segments = (
        Segment("text", "given", text="hm"),
        Segment("text", text="yes"),
        Segment("text", "given", text="ah"),
    )
    encoded = encoded_samples(tmp_path, {"train": [Sample(segments)]}, sources["texts"].tokenizer)
    task = {"kind": "interleaved", "source": "talk", "style": "chat"}
    found = texts_of({"talk": encoded}, talking({"talk": encoded}, 3, [task], picture_slots=0), 4)
    alone = "<bos><|user|>hm<|end|><|assistant|>yes<|end|><|user|>ah<|end|>"
    assert set(found) == {alone}


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_restored_loader_goes_on_exactly(sources: Sources, after: int) -> None:
    first, resumed = talking(sources), talking(sources)
    take(first, after)
    take(resumed, 5)
    resumed.restore(MixedLoaderState.from_dict(first.state().to_dict()))
    for one, other in zip(take(resumed, 8), take(first, 8), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_ranks_together_read_what_one_would_read(sources: Sources) -> None:
    alone = take(talking(sources, rows=6), 6)
    ranks = [take(talking(sources, rows=2, rank=rank, world_size=3), 6) for rank in range(3)]
    for step, batch in enumerate(alone):
        for index, expected in enumerate(batch):
            assert torch.equal(torch.cat([batches[step][index] for batches in ranks]), expected)


def test_the_report_counts_pictures_that_come_twice(sources: Sources) -> None:
    found = talking(sources, 3, [*TASKS, {**TALK, "style": "chat"}], picture_slots=9)
    batches = take(found, 12)
    pictures = torch.cat([batch.picture_sample_BM for batch in batches]) >= 0
    text = torch.cat([batch.text_sample_BT for batch in batches]) >= 0
    report = found.report()
    assert sum(task.picture_slots for task in report.tasks.values()) == pictures.sum()
    assert sum(task.text_slots for task in report.tasks.values()) == text.sum()
