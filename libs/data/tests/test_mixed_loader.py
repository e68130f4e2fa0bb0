"""What training may rely on when it reads mixtures of tasks."""

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from vermeil_data import (
    EncodedSamples,
    MixedBatch,
    MixedLoader,
    MixedLoaderState,
    OpenMixture,
    Sample,
    Segment,
    TextTokenizer,
    TokenizerSpec,
    train_tokenizer,
)
from vermeil_data.mixed_batch import elements
from vermeil_data.mixed_tasks import task_samples
from vermeil_data.spelling import Marks
from vermeil_data.testing import asked_samples, documents, encoded_samples, picture_samples
from vermeil_data.windows import IGNORED
from vermeil_errors import Conflict, InvalidInput, NotFound

from .mixtures import CAPTIONING, DRAWING, EVERY_TASK, LM, PICTURES, TALK, VQA, loader, mixture, told
from .mixtures import sources as make_sources

Sources = dict[str, EncodedSamples]
STEP = 2
"""Positions of a picture of 8 × 8 in patches of 4."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return make_sources(tmp_path_factory.mktemp("sources"))


def take(found: MixedLoader, count: int) -> list[MixedBatch]:
    return list(islice(found, count))


def same(one: MixedBatch, two: MixedBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def texts_of(sources: Sources, found: MixedLoader, count: int) -> list[tuple[int, str]]:
    tokenizer = next(iter(sources.values())).tokenizer
    return [sample for batch in take(found, count) for sample in told(batch, tokenizer)]


@pytest.mark.parametrize("picture_slots", [4, 9])
def test_batches_are_contiguous_and_of_static_shape(sources: Sources, picture_slots: int) -> None:
    for batch in take(loader(sources, picture_slots=picture_slots), 12):
        assert batch.pixels_BMCHW.shape == (4, picture_slots, 3, 8, 8)
        for name, tensor in batch._asdict().items():
            expected = {"pixels_BMCHW": torch.uint8, "picture_noisy_BM": torch.bool}.get(name, torch.int64)
            assert (tensor.dtype, tensor.is_contiguous()) == (expected, True)
            assert tensor.shape[:2] == (4, picture_slots if "M" in name.split("_")[-1] else 96)
        assert batch.num_items == 4
        learned = (batch.targets_BT != IGNORED).sum() + batch.picture_noisy_BM.sum()
        assert batch.num_targets == learned


def test_a_mixture_of_texts_needs_no_picture_slots(sources: Sources) -> None:
    (batch,) = take(loader(sources, [LM], picture_slots=0), 1)
    assert batch.pixels_BMCHW.shape == (4, 0, 3, 8, 8)
    assert batch.picture_sample_BM.shape == (4, 0)


def test_every_task_is_spelled_in_its_own_way(sources: Sources) -> None:
    chat = [{**DRAWING, "style": "chat"}, {**TALK, "style": "chat", "name": "talk"}]
    plain = {**VQA, "style": "document", "name": "plain"}
    shown = {**CAPTIONING, "style": "chat", "name": "shown"}
    tasks = [CAPTIONING, VQA, {**DRAWING, "name": "draw"}, TALK, *chat, plain, shown, PICTURES]
    spelled = dict(texts_of(sources, loader(sources, tasks), 16))
    patterns = (
        r"<bos><boi>▢<eoi>(\w[\w ]*)\|\1<eos>",
        r"<bos><\|user\|><boi>▢<eoi>[\w ]*\?<\|end\|><\|assistant\|>(\w+)\|\1<\|end\|>",
        r"<bos>\w[\w ]*<boi>▨\|",
        r"<bos>look<boi>▢<eoi>(so \d)<boi>▨▢<eoi>and<boi>▨\|\1<boi>and<boi>",
        r"<bos><\|user\|>\w[\w ]*<\|end\|><\|assistant\|><boi>▨<eoi>\|<boi><\|end\|>",
        r"<bos><\|user\|>look<boi>▢<eoi><\|end\|><\|assistant\|>(so \d)<boi>▨▢<eoi>and<boi>▨<eoi>"
        r"\|\1<boi>and<boi><\|end\|>",
        r"<bos><boi>▢<eoi>[\w ]*\?(\w+)\|\1<eos>",
        r"<bos><\|user\|><boi>▢<eoi><\|end\|><\|assistant\|>(\w[\w ]*)\|\1<\|end\|>",
        r"<bos><boi>▨\|",
    )
    for task, pattern in enumerate(patterns):
        assert re.fullmatch(pattern, spelled[task]), (spelled[task], pattern)


def test_a_conversation_without_pictures_is_spelled_as_the_tokenizer_does(
    sources: Sources, tmp_path: Path
) -> None:
    tokenizer = sources["texts"].tokenizer
    asked = (Segment("text", "given", text="two and two?"), Segment("text", text="four"))
    encoded = encoded_samples(tmp_path, {"train": [Sample(asked)]}, tokenizer)
    task = {"kind": "interleaved", "source": "sums", "style": "chat"}
    (batch,) = take(loader({"sums": encoded}, [task], rows=1, text_slots=30, picture_slots=0), 1)
    messages = [{"role": "user", "content": "two and two?"}, {"role": "assistant", "content": "four"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=False)
    assert batch.tokens_BT[0, : len(ids) - 1].tolist() == ids[:-1]


def test_a_conversation_with_pictures_is_spelled_as_the_tokenizer_does(
    sources: Sources, tmp_path: Path
) -> None:
    tokenizer = sources["texts"].tokenizer
    file = picture_samples(1)[0].segments[-1].data
    picture = Segment("image", "given", data=file)
    asked = (Segment("text", "given", text="see"), picture, Segment("text", "given", text="what?"))
    encoded = encoded_samples(tmp_path, {"train": [Sample((*asked, Segment("text", text="so")))]}, tokenizer)
    task = {"kind": "interleaved", "source": "shown", "style": "chat"}
    (batch,) = take(loader({"shown": encoded}, [task], rows=1, text_slots=30, picture_slots=1), 1)
    messages = [{"role": "user", "content": ["see", None, "what?"]}, {"role": "assistant", "content": "so"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=False)
    assert batch.tokens_BT[0, : len(ids) - 1].tolist() == ids[:-1]


def test_targets_are_the_next_tokens_of_the_same_sample(sources: Sources) -> None:
    for batch in take(loader(sources), 20):
        learned = batch.targets_BT[:, :-1] != IGNORED
        follows = batch.text_order_BT[:, 1:] == batch.text_order_BT[:, :-1] + 1
        inside = (batch.text_sample_BT[:, 1:] == batch.text_sample_BT[:, :-1]) & follows & learned
        assert torch.equal(batch.tokens_BT[:, 1:][inside], batch.targets_BT[:, :-1][inside])
        empty = batch.text_sample_BT < 0
        assert (batch.targets_BT[empty] == IGNORED).all()
        assert (batch.tokens_BT[empty] == sources["texts"].tokenizer.pad_id).all()


def test_positions_begin_at_zero_in_every_sample_and_a_picture_takes_its_longer_side(
    sources: Sources,
) -> None:
    for batch in take(loader(sources), 8):
        for row in range(4):
            for sample in range(int(batch.text_sample_BT[row].max()) + 1):
                text, pictures = batch.text_sample_BT[row] == sample, batch.picture_sample_BM[row] == sample
                steps = [(order, 1) for order in batch.text_order_BT[row][text].tolist()]
                shown = set(batch.picture_order_BM[row][pictures].tolist())
                expected, position = {}, 0
                for order, step in sorted([*steps, *((order, STEP) for order in shown)]):
                    expected[order] = position
                    position += step
                for name, chosen in (("text", text), ("picture", pictures)):
                    axis = "BT" if name == "text" else "BM"
                    orders = getattr(batch, f"{name}_order_{axis}")[row][chosen].tolist()
                    positions = getattr(batch, f"{name}_position_{axis}")[row][chosen].tolist()
                    assert positions == [expected[order] for order in orders]
        orders = [
            order[sample >= 0]
            for order, sample in zip(batch.text_order_BT, batch.text_sample_BT, strict=True)
        ]
        assert all((of_row.diff() > 0).all() for of_row in orders)


@pytest.mark.parametrize("task", [VQA, PICTURES], ids=lambda task: task["kind"])
def test_pictures_are_those_of_their_samples(sources: Sources, task: dict[str, str]) -> None:
    samples = sources["questions"].samples("train")
    known = {picture.tobytes(): number for number, picture in enumerate(samples.pixels_PCHW)}
    assert len(known) == 12
    for batch in take(loader(sources, [task]), 6):
        empty = batch.picture_sample_BM < 0
        assert not batch.pixels_BMCHW[empty].any()
        for pixels, sample in zip(batch.pixels_BMCHW, batch.picture_sample_BM, strict=True):
            assert all(pixels[slot].numpy().tobytes() in known for slot in (sample >= 0).nonzero().flatten())


def test_the_picture_of_every_sample_is_drawn_from_nothing_once_an_epoch(sources: Sources) -> None:
    batches = take(loader(sources, [PICTURES], rows=2, picture_slots=4), 3)  # 24 samples of 12 pictures
    assert all(batch.picture_noisy_BM.all() for batch in batches)
    drawn = [pixels.numpy().tobytes() for batch in batches for pixels in batch.pixels_BMCHW.flatten(0, 1)]
    assert sorted(Counter(drawn).values()) == [2] * 12


def test_a_drawn_picture_that_is_looked_at_later_comes_twice_in_one_place(sources: Sources) -> None:
    (batch,) = take(loader(sources, [TALK], rows=1), 1)
    first, drawn, clean, last = range(4)
    assert batch.picture_noisy_BM[0].tolist() == [False, True, False, True]
    for tensor in (batch.picture_order_BM, batch.picture_position_BM, batch.pixels_BMCHW):
        assert torch.equal(tensor[0, drawn], tensor[0, clean])
    order = batch.picture_order_BM[0]
    assert order[first] < order[drawn] < order[last]


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(sources: Sources) -> None:
    one, again, other = (take(loader(sources, seed=seed), 10) for seed in (1, 1, 2))
    assert all(map(same, one, again))
    assert not any(map(same, one, other))


@pytest.mark.parametrize("after", [0, 1, 7, 60])
def test_a_restored_loader_goes_on_exactly(sources: Sources, after: int) -> None:
    first = loader(sources)
    take(first, after)
    state = json.loads(json.dumps(first.state().to_dict()))
    resumed = loader(sources)
    take(resumed, 5)
    resumed.restore(MixedLoaderState.from_dict(state))
    assert all(map(same, take(resumed, 15), take(first, 15)))
    assert resumed.state() == first.state()


def test_ranks_together_read_what_one_would_read(sources: Sources) -> None:
    alone = take(loader(sources, rows=6), 10)
    ranks = [take(loader(sources, rows=2, rank=rank, world_size=3), 10) for rank in range(3)]
    for step, batch in enumerate(alone):
        for index, expected in enumerate(batch):
            assert torch.equal(torch.cat([batches[step][index] for batches in ranks]), expected)


@pytest.mark.parametrize("task", [CAPTIONING, VQA, DRAWING, TALK], ids=lambda task: task["kind"])
def test_every_sample_comes_once_an_epoch_of_its_task(sources: Sources, task: dict[str, str]) -> None:
    found = loader(sources, [task], rows=1, picture_slots=4)
    number = sources[task["source"]].num_samples("train")
    per_row = {"interleaved": 1}.get(task["kind"], 4)
    epochs = [texts_of(sources, found, number // per_row) for _ in range(2)]
    assert [len(epoch) for epoch in epochs] == [number, number]
    if task["kind"] == "interleaved":
        assert Counter(epochs[0]) == Counter(epochs[1])
        assert len(set(epochs[0])) == number
    assert epochs[0] != epochs[1]
    assert found.report().tasks[f"{task['kind']}/{task['source']}"].epochs >= 2


def test_every_token_is_learned_once_an_epoch_of_language_modelling(sources: Sources) -> None:
    samples, tokenizer = sources["texts"].samples("train"), sources["texts"].tokenizer
    (task,) = mixture([{**LM, "window": 16}]).tasks
    windows = task_samples(samples, task, Marks.of(tokenizer, chat=False), (96, 0), (0, 0))
    expected = Counter(token for text in documents(30) for token in [*text.encode(), tokenizer.eos_id])
    assert windows.num_samples == sum(-(-(len(text) + 1) // 16) for text in documents(30))
    cuts = set()
    for epoch in range(3):
        numbers = np.arange(windows.num_samples) + epoch * windows.num_samples
        assert windows.sizes(numbers).text_K.max() <= 16
        found = elements(windows.pieces(numbers), samples.ids_T, STEP)
        assert Counter(found.ids_E[found.learned_E].tolist()) == expected
        cuts.add(tuple(sorted(windows.sizes(numbers).text_K.tolist())))
    assert len(cuts) == 3


def test_of_several_captions_each_has_its_turn(sources: Sources) -> None:
    texts = Counter(text for _, text in texts_of(sources, loader(sources, [DRAWING]), 150))
    third = [texts[f"<bos>{caption}<boi>▨|"] for caption in ("slope number 2", "slope", "a slope")]
    assert min(third) > 10


def test_tasks_take_turns_by_their_weights(sources: Sources) -> None:
    tasks = [{**LM, "weight": 1}, {**VQA, "weight": 3}]
    found = loader(sources, tasks, text_slots=200, picture_slots=8)
    take(found, 30)
    texts, questions = (task.samples for task in found.report().tasks.values())
    assert questions / texts == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(("temperature", "ratio"), [(1, 2.0), (2, 2**0.5), (1e9, 1.0)])
def test_without_weights_the_temperature_decides(tmp_path: Path, temperature: float, ratio: float) -> None:
    tokenizer = train_tokenizer([], TokenizerSpec("byte"))
    found = {
        "few": encoded_samples(tmp_path / "few", {"train": asked_samples(30)}, tokenizer),
        "many": encoded_samples(tmp_path / "many", {"train": asked_samples(60)}, tokenizer),
    }
    tasks = [{"kind": "vqa", "source": name} for name in found]
    reader = loader(found, tasks, {"temperature": temperature})
    take(reader, 40)
    few, many = (task.samples for task in reader.report().tasks.values())
    assert many / few == pytest.approx(ratio, rel=0.05)


def test_rows_are_filled_and_the_report_says_how_well(sources: Sources) -> None:
    found = loader(sources, rows=8, text_slots=256, picture_slots=8)
    batches = take(found, 30)
    report = found.report()
    text = torch.cat([batch.text_sample_BT for batch in batches]) >= 0
    pictures = torch.cat([batch.picture_sample_BM for batch in batches]) >= 0
    assert report.text == pytest.approx(text.float().mean().item())
    assert report.pictures == pytest.approx(pictures.float().mean().item())
    assert report.pictures > 0.9
    assert sum(task.text_slots for task in report.tasks.values()) == text.sum()
    assert sum(task.picture_slots for task in report.tasks.values()) == pictures.sum()
    assert [task.left_out for task in report.tasks.values()] == [0] * len(EVERY_TASK)


def test_long_captions_are_cut_and_long_questions_left_out_and_both_are_counted(
    sources: Sources,
) -> None:
    sizes = [sum(len(each.text or "") for each in sample.segments[1:]) + 6 for sample in asked_samples(24)]
    short = loader(sources, [VQA], text_slots=22)
    take(short, 20)
    (questions,) = short.report().tasks.values()
    assert questions.left_out == sum(size > 22 for size in sizes)
    assert 0 < questions.left_out < 24
    tiny = loader(sources, [CAPTIONING, DRAWING], text_slots=8)
    spelled = texts_of(sources, tiny, 20)
    captioning, drawing = tiny.report().tasks.values()
    lengths = [len(segment.text or "") for each in picture_samples(20) for segment in each.segments[:-1]]
    assert captioning.cut == sum(length > 5 for length in lengths)
    assert drawing.cut == sum(length > 6 for length in lengths)
    assert (0, "<bos><boi>▢<eoi>stri|strip") in spelled
    assert (1, "<bos>stripe<boi>▨|") in spelled
    assert not any(text.startswith("<bos><boi>▢<eoi>stri|") and "<eos>" in text for _, text in spelled)


@pytest.mark.parametrize("name", ["split", "seed", "text_slots", "picture_slots", "patch_size", "mixture"])
def test_a_state_of_other_data_or_settings_is_refused(sources: Sources, name: str) -> None:
    found = loader(sources)
    state = found.state().to_dict() | {name: 7}
    with pytest.raises(Conflict, match=f"the checkpoint's loader had {name} 7"):
        found.restore(MixedLoaderState.from_dict(state))


@pytest.mark.parametrize("values", [{"step": 3}, {"drawn": 3}, {"waiting": [1]}])
def test_something_else_is_not_taken_for_a_state(sources: Sources, values: dict[str, object]) -> None:
    state = loader(sources).state().to_dict() | values
    with pytest.raises(InvalidInput, match="not the state of a loader of mixtures"):
        MixedLoaderState.from_dict(state)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"rows": 0}, "rows = 0: must be at least 1"),
        ({"rank": 2, "world_size": 2}, "rank = 2: must be 0 to 1"),
        ({"text_slots": 1}, "text_slots = 1: must be at least 2"),
        ({"picture_slots": -1}, "picture_slots = -1: must be at least 0"),
        ({"patch_size": 3}, "patch_size = 3: does not divide pictures of 8 × 8; take the patch size of the"),
        ({"picture_slots": 0}, "picture_slots = 0: leaves no room for captioning; give 1 or more"),
        ({"text_slots": 3}, "text_slots = 3: leaves no room for a caption in captioning; give a row more"),
        ({"picture_slots": 3}, r"tasks\[4\].source = 'stories': has 6 samples for interleaved, but none"),
    ],
)
def test_an_impossible_loader_is_refused(sources: Sources, form: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        loader(sources, **form)


@pytest.mark.parametrize(
    ("kind", "source", "wanted"),
    [
        ("vqa", "captions", "pictures, a question and an answer"),
        ("captioning", "texts", "a picture and captions"),
        ("text-to-image", "questions", "a picture and captions"),
        ("language-modelling", "questions", "text without pictures"),
        ("image-modelling", "texts", "a picture"),
        ("interleaved", "texts", "two or more segments in order"),
    ],
)
def test_a_task_that_its_source_cannot_serve_is_refused(
    sources: Sources, kind: str, source: str, wanted: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        loader(sources, [{"kind": kind, "source": source}])
    number = sources[source].num_samples("train")
    assert str(error.value).startswith(
        f"tasks[0].source = {source!r}: has none for {kind} among its {number:,} samples; choose a source"
    )
    assert wanted in str(error.value)


def test_chat_with_a_tokenizer_that_knows_none_is_refused(tmp_path: Path) -> None:
    alphabet = {
        character: index for index, character in enumerate(sorted(set("yes no check stripe slope what?")))
    }
    foreign = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    foreign.add_special_tokens(["<s>", "</s>"])
    tokenizer = TextTokenizer(foreign, "other", {"bos": "<s>", "eos": "</s>"})
    encoded = encoded_samples(tmp_path, {"train": asked_samples(4)}, tokenizer)
    with pytest.raises(
        InvalidInput, match=r"tasks\[0\]\.style = 'chat': cannot be: the tokenizer has no marks"
    ):
        loader({"questions": encoded}, [VQA])
    (batch,) = take(loader({"questions": encoded}, [{**VQA, "style": "document"}]), 1)
    assert batch.num_targets > 0


def test_a_split_that_a_source_lacks_is_told(sources: Sources) -> None:
    opened = OpenMixture(mixture(), sources)
    with pytest.raises(NotFound, match="has no split 'validation'; it has train"):
        MixedLoader(opened, "validation", rows=1, text_slots=96, picture_slots=4, patch_size=4, seed=0)


def test_the_numbers_of_samples_are_plain(sources: Sources) -> None:
    found = loader(sources)
    take(found, 2)
    assert all(type(number) is int for number in found.state().drawn)
    assert not isinstance(found.report().tasks["vqa/questions"].samples, np.integer)
