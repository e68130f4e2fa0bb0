"""Conversations that cannot go on: each ends alone, the others say what they would have said without it."""

from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
import torch
from vermeil_model import (
    FUSIONS,
    BrokenEvent,
    Conversations,
    Easel,
    FusedModel,
    PictureEvent,
    Request,
    TokenEvent,
    from_pixels,
)
from vermeil_model.fused_memory import Memory
from vermeil_model.testing import small_fused
from vermeil_model.track import Track

from .conversing import (
    CALLS,
    MARKERS,
    QUICK,
    Events,
    answers,
    asked,
    pictures,
    shown_then,
    tokens_of,
)

FATAL = 40
"""No prompt with this token can be read by a model that `breaks`; nobody says it."""


def breaks(
    monkeypatch: pytest.MonkeyPatch, model: FusedModel, method: str, is_fatal: Callable[[torch.Tensor], bool]
) -> None:
    """Let a method that reads fail for some of what it is given, once all is written and counted."""
    works = getattr(model, method)

    def fails(memory: Memory, given: torch.Tensor, *more: Any, **named: Any) -> Any:
        found = works(memory, given, *more, **named)
        if is_fatal(given):
            raise MemoryError("no room to read")
        return found

    monkeypatch.setattr(model, method, fails)


def breaks_at_fatal(monkeypatch: pytest.MonkeyPatch, model: FusedModel) -> None:
    breaks(monkeypatch, model, "read_on", lambda tokens_BT: FATAL in tokens_BT)


def alone(model: FusedModel, request: Request) -> list[int]:
    """What it says by itself."""
    return tokens_of(answers(Conversations(model, MARKERS, drawing=QUICK), [request])[0])


def is_broken(events: Events, why: str = "no room to read") -> bool:
    """Whether they end so."""
    return isinstance(events[-1], BrokenEvent) and str(events[-1].error) == why


@pytest.mark.parametrize("chunk", [3, 256])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_prompt_that_cannot_be_read_ends_its_conversation_alone(
    monkeypatch: pytest.MonkeyPatch, fusion: str, chunk: int
) -> None:
    model, (one, other) = small_fused(fusion), pictures(2)
    requests = [
        asked(shown_then(4, 5), one),
        asked(shown_then(4, 6, 7, 8, FATAL, 9), other),
        asked(shown_then(4, 6, 7, 8, 3), other),  # begins like the one before it
        asked([1, 9], seed=3, logit_bias=CALLS),
    ]
    going = [request for request in requests if FATAL not in request.prompt]
    expected = [alone(model, each) for each in going]
    breaks_at_fatal(monkeypatch, model)
    conversations = Conversations(model, MARKERS, chunk=chunk, num_slots=4, kept_bytes=2**30, drawing=QUICK)
    first, broken, *rest = answers(conversations, requests)
    assert len(broken) == 1
    assert is_broken(broken)
    assert [tokens_of(events) for events in (first, *rest)] == expected
    assert rest[0][0].num_cached == 1  # <bos>, of the first; nothing of the broken one
    assert conversations.num_free == 4
    monkeypatch.undo()  # of what was kept, only what is whole
    (again,) = answers(conversations, requests[1:2])
    assert tokens_of(again) == alone(model, requests[1])


def test_a_picture_that_cannot_be_read_ends_its_conversation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (one, large) = small_fused(), pictures(2)
    requests = [asked(shown_then(4, 5), one), asked(shown_then(4, 5), large), asked(shown_then(6), one)]
    expected = [alone(model, each) for each in requests[::2]]
    fatal_CHW = from_pixels(large[None])[0]
    breaks(monkeypatch, model, "read_picture", lambda images_BCHW: torch.equal(images_BCHW[0], fatal_CHW))
    first, broken, last = answers(Conversations(model, MARKERS), requests)
    assert is_broken(broken)
    assert [tokens_of(first), tokens_of(last)] == expected


def test_even_what_cannot_begin_to_be_read_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_fused()
    requests = [asked([1, 2, 3]), asked([1, 2, 4]), asked([7, 2])]
    expected = [alone(model, each) for each in requests[::2]]
    conversations = Conversations(model, MARKERS)

    def fails(*_: object) -> None:
        raise MemoryError("no room to read")

    monkeypatch.setattr(Memory, "beginning", fails)  # the second begins with what the first has read
    first, broken, last = answers(conversations, requests)
    assert is_broken(broken)
    assert [tokens_of(first), tokens_of(last)] == expected


def test_first_tokens_of_those_read_in_the_same_step_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_fused()
    breaks_at_fatal(monkeypatch, model)
    conversations = Conversations(model, MARKERS)
    one, other, broken, last = conversations.add([asked([1, 2]), asked([1, 3]), asked([FATAL]), asked([1])])
    told = [(type(event), event.sequence) for event in conversations.step()]
    assert sorted(told, key=lambda each: each[1]) == [
        (TokenEvent, one),
        (TokenEvent, other),
        (BrokenEvent, broken),
    ]
    assert {event.sequence for event in conversations.step()} == {one, other}
    assert [event.sequence for event in conversations.step()] == [last]


def test_those_who_write_do_not_wait_for_prompts_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_fused()
    breaks_at_fatal(monkeypatch, model)
    conversations = Conversations(model, MARKERS)
    (writing,) = conversations.add([asked([1, 2], max_tokens=9)])
    conversations.step()
    for _ in range(4):
        conversations.add([asked([FATAL])])
        assert writing in [event.sequence for event in conversations.step()]


def test_who_cannot_read_what_it_drew_ends_alone_and_a_prompt_in_parts_is_read_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small_fused()
    writes, reads = asked([1, 2], max_tokens=30), asked([1, *range(20, 36)])
    expected = [alone(model, writes), alone(model, reads)]
    breaks(monkeypatch, model, "read_picture", lambda _: True)
    easel = Easel(model.painter(), torch.device("cpu"))
    conversations = Conversations(model, MARKERS, easel=easel, chunk=2, kept_bytes=2**30, drawing=QUICK)
    writing, drawing = conversations.add([writes, asked([1, 9], logit_bias=CALLS)])
    order: Events = []
    while drawing not in {event.sequence for event in order}:
        order += conversations.step()
    (reading,) = conversations.add([reads])
    while conversations.sequences:
        order += conversations.step()
    broken = [type(event) for event in order if event.sequence == drawing]
    assert broken == [TokenEvent, PictureEvent, TokenEvent, BrokenEvent]
    numbers = [event.sequence for event in order]
    assert drawing not in numbers[numbers.index(reading) :]  # it broke while the other was being read
    written, read = ([each for each in order if each.sequence == number] for number in (writing, reading))
    assert [tokens_of(written), tokens_of(read)] == expected


def test_where_there_is_no_room_among_those_that_write_the_new_one_ends_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, num_slots = small_fused(), 3
    longest = asked([1, *[*MARKERS] * 8, 4], *pictures(8))  # more than there are slots at first
    writes = asked([1, 2], max_tokens=9)
    expected = alone(model, writes)
    moves = Track._move

    def fails(track: Track, room: int, capacity: int, index: Any) -> None:
        if room == num_slots:
            raise MemoryError("no room to write")
        moves(track, room, capacity, index)

    monkeypatch.setattr(Track, "_move", fails)
    conversations = Conversations(model, MARKERS, num_slots=num_slots)
    going, broken = answers(conversations, [writes, longest])
    assert is_broken(broken, "no room to write")
    assert tokens_of(going) == expected
    monkeypatch.undo()
    (again,) = answers(conversations, [longest])
    assert tokens_of(again) == alone(model, longest)


def test_what_a_broken_one_held_is_let_go_of_before_its_error_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, held = small_fused(), []

    def fails(memory: Memory, *_: object, **__: object) -> None:
        worked_on = torch.zeros(4)
        held.extend((ref(memory), ref(worked_on)))
        raise MemoryError

    monkeypatch.setattr(model, "read_on", fails)
    conversations = Conversations(model, MARKERS, kept_bytes=2**30)
    least = conversations.num_bytes
    conversations.add([asked([1, 2])])
    (event,) = conversations.step()
    assert isinstance(event, BrokenEvent)
    assert [each() for each in held] == [None, None]
    assert conversations.num_bytes == least


def test_a_picture_that_cannot_be_drawn_ends_its_conversation_alone() -> None:
    model = small_fused()

    class Torn:
        config = model.image.config

        def __call__(self, *_: object, **__: object) -> torch.Tensor:
            raise MemoryError("no room to draw")

    requests = [asked([1, 9], logit_bias=CALLS), asked([1, 2])]
    easel = Easel(Torn(), torch.device("cpu"))
    broken, going = answers(Conversations(model, MARKERS, easel=easel), requests)
    assert isinstance(broken[-1], BrokenEvent)
    assert "no room to draw" in str(broken[-1].error)
    (alone,) = answers(Conversations(model, MARKERS), requests[1:])
    assert tokens_of(going) == tokens_of(alone)


@pytest.mark.parametrize("failing", ["context", "read_on"])
def test_a_picture_that_cannot_be_begun_ends_its_conversation_alone(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    model, easel = small_fused(), Easel(small_fused().painter(), torch.device("cpu"))
    requests = [asked([1, 2]), asked([4, 9], logit_bias=CALLS), asked([1, 2, 3], max_tokens=3)]
    expected = [tokens_of(answers(Conversations(model, MARKERS), [each])[0]) for each in requests[::2]]
    works = getattr(model, failing)

    def fails(*given: object, **named: object) -> object:
        if failing == "context" or given[1].tolist() == [[MARKERS.begin]]:
            raise MemoryError("no room to begin")
        return works(*given, **named)

    monkeypatch.setattr(model, failing, fails)
    conversations = Conversations(model, MARKERS, easel=easel, kept_bytes=2**30, num_slots=3)
    first, broken, last = answers(conversations, requests)
    assert [tokens_of(first), tokens_of(last)] == expected
    assert isinstance(broken[-1], BrokenEvent)
    assert "no room to begin" in str(broken[-1].error)
    assert conversations.num_free == 3
    monkeypatch.undo()  # what was half read is not taken for read
    (again,) = answers(conversations, requests[1:2])
    assert again[0].num_cached == 0
