"""Conversations that come, go, look, draw and break at random: each says and draws what it would alone."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from vermeil_model import (
    FUSIONS,
    BrokenEvent,
    Conversation,
    Conversations,
    Easel,
    FusedModel,
    PictureEvent,
    Request,
    SamplingParameters,
    TokenEvent,
    from_pixels,
)
from vermeil_model.easel import Drawing
from vermeil_model.fused_memory import Memory
from vermeil_model.testing import small_fused

from .conversing import MARKERS, QUICK, pictures

PICTURES = pictures(3)
PROMPTS = [
    ([1, 9], ()),
    ([1, *MARKERS, 4, 5], (0,)),
    ([1, *MARKERS, 4, 6, 7], (0,)),
    ([1, *MARKERS, 4, 5], (1,)),
    ([1, 20, 7, 33, 12, 8, 41, 3, 17, 25], ()),
    ([1, 2, *MARKERS, 30, *MARKERS, 6], (2, 0)),
]
FATAL = 57
"""No prompt with this token can be read, and nobody says it."""
BROKEN = [([1, *MARKERS, 4, 6, 7, FATAL, 5], (0,)), ([1, 20, 7, 33, 12, FATAL], ()), ([FATAL], ())]
WAYS = [
    {"temperature": 0, "logit_bias": {MARKERS.begin: -1e4}},
    {"temperature": 0, "logit_bias": {MARKERS.begin: 1e4}, "seed": 7},
    {"temperature": 1, "seed": 3, "logit_bias": {MARKERS.begin: 3.0}},
    {"temperature": 0, "repetition_penalty": 1.3, "frequency_penalty": 0.4, "seed": 1},
]


class Told(NamedTuple):
    """What an answer was."""

    tokens: list[int]
    pictures: list[torch.Tensor]
    reason: str | None


@cache
def model_of(fusion: str) -> FusedModel:
    model = small_fused(fusion)
    read_on = model.read_on

    def reads_or_fails(memory: Memory, tokens_BT: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        hidden_BTD = read_on(memory, tokens_BT, *more, **named)
        if FATAL in tokens_BT:
            raise MemoryError
        return hidden_BTD

    model.read_on = reads_or_fails
    return model


@cache
def forms_of(fusion: str) -> tuple[object, object]:
    model = model_of(fusion)
    return model.writer(), model.painter()


def request_of(prompt: int, way: int, max_tokens: int) -> Request:
    tokens, shown = (*PROMPTS, *BROKEN)[prompt]
    bias = WAYS[way].get("logit_bias", {})
    options = {**WAYS[way], "max_tokens": max_tokens, "logit_bias": {**bias, FATAL: -1e4}}
    return Request(tokens, SamplingParameters(**options), [PICTURES[place] for place in shown])


@cache
def alone(fusion: str, prompt: int, way: int, max_tokens: int) -> Told:
    """What a conversation by itself says and draws."""
    request = request_of(prompt, way, max_tokens)
    conversation, shown, run = Conversation(model_of(fusion), MARKERS), iter(request.pictures), []
    for token in request.prompt:
        if token == MARKERS.begin:
            conversation.read_tokens(run)
            conversation.read_picture(from_pixels(next(shown)[None])[0])
            run = []
        elif token != MARKERS.end:
            run.append(token)
    conversation.read_tokens(run)
    return told_by(list(conversation.reply(request.parameters, QUICK)))


def told_by(events: Sequence[TokenEvent | PictureEvent]) -> Told:
    tokens = [event.token for event in events if isinstance(event, TokenEvent)]
    drawn = [event.image_CHW for event in events if isinstance(event, PictureEvent)]
    last = events[-1] if events else None
    return Told(tokens, drawn, last.finish_reason if isinstance(last, TokenEvent) else None)


def check(events: Sequence[TokenEvent | PictureEvent], expected: Told, *, whole: bool = True) -> None:
    found = told_by(events)
    if whole:
        assert found.tokens == expected.tokens
        assert found.reason == expected.reason
    assert found.tokens == expected.tokens[: len(found.tokens)]
    for mine, theirs in zip(found.pictures, expected.pictures, strict=False):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_all_that_can_be_asked_is_answered_in_company_as_alone(fusion: str) -> None:
    form, painter = forms_of(fusion)
    asked = [(prompt, way, 4 + way) for prompt in range(len(PROMPTS)) for way in range(len(WAYS))]
    options = {"form": form, "easel": Easel(painter, torch.device("cpu")), "drawing": QUICK}
    talks = Conversations(model_of(fusion), MARKERS, num_slots=len(asked), chunk=5, **options)
    events: dict[int, list] = {number: [] for number in talks.add([request_of(*each) for each in asked])}
    while talks.sequences:
        for event in talks.step():
            events[event.sequence].append(event)
    for number, each in enumerate(asked):
        check(events[number], alone(fusion, *each))
        assert len(told_by(events[number]).pictures) == len(alone(fusion, *each).pictures)


class Company(RuleBasedStateMachine):
    """Who is asked, and what they have said so far."""

    @initialize(
        fusion=st.sampled_from(sorted(FUSIONS)),
        chunk=st.integers(1, 12),
        kept_bytes=st.sampled_from([0, 60_000, 2**24]),
        num_slots=st.integers(1, 5),
    )
    def begin(self, fusion: str, chunk: int, kept_bytes: int, num_slots: int) -> None:
        self.fusion, self.kept_bytes = fusion, kept_bytes
        form, painter = forms_of(fusion)
        self.easel = Easel(painter, torch.device("cpu"))
        options = {"form": form, "easel": self.easel, "kept_bytes": kept_bytes, "num_slots": num_slots}
        self.talks = Conversations(model_of(fusion), MARKERS, drawing=QUICK, chunk=chunk, **options)
        self.asked: dict[int, tuple[int, int, int]] = {}
        self.events: dict[int, list] = {}
        self.ordered: list[Drawing] = []

    @precondition(lambda self: self.talks.num_free)
    @rule(
        prompt=st.integers(0, len(PROMPTS) + len(BROKEN) - 1),
        way=st.integers(0, len(WAYS) - 1),
        max_tokens=st.integers(1, 6),
    )
    def ask(self, prompt: int, way: int, max_tokens: int) -> None:
        (number,) = self.talks.add([request_of(prompt, way, max_tokens)])
        self.asked[number], self.events[number] = (prompt, way, max_tokens), []

    @rule(times=st.integers(1, 4))
    def step(self, times: int) -> None:
        for _ in range(times):
            for event in self.talks.step():
                self.events[event.sequence].append(event)
        for number in set(self.asked) - set(self.talks.sequences):
            self.check(number, whole=True)

    @precondition(lambda self: self.talks.sequences)
    @rule(place=st.integers(0, 9))
    def leave(self, place: int) -> None:
        sequences = self.talks.sequences
        number = sequences[place % len(sequences)]
        self.talks.remove(number)
        self.check(number, whole=False)

    def check(self, number: int, *, whole: bool) -> None:
        prompt, way, max_tokens = self.asked.pop(number)
        events = self.events.pop(number)
        if prompt < len(PROMPTS):
            check(events, alone(self.fusion, prompt, way, max_tokens), whole=whole)
        else:
            assert [type(event) for event in events] == [BrokenEvent] * whole

    @rule(seed=st.integers(0, 5))
    def order_a_picture(self, seed: int) -> None:
        self.ordered.append(self.easel.add(None, seed, QUICK))

    @precondition(lambda self: self.ordered)
    @rule()
    def move_what_was_ordered(self) -> None:
        self.easel.move()

    @invariant()
    def no_more_is_kept_than_may_be(self) -> None:
        if hasattr(self, "talks"):
            assert self.talks._before.num_bytes <= self.kept_bytes
            assert set(self.talks.sequences) == set(self.asked)

    def teardown(self) -> None:
        if not hasattr(self, "talks"):
            return
        while self.talks.sequences:
            self.step(1)
        while not all(drawing.is_done for drawing in self.ordered):
            self.easel.move()


TestCompany = Company.TestCase
TestCompany.settings = settings(
    max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCompany.pytestmark = [pytest.mark.slow]
