"""What an engine may rely on, of the real networks and of the fake beside them."""

from collections.abc import Sequence

import pytest
from vermeil_generator.engine import Decoding
from vermeil_generator.fakes import Drawn, FakeDecoder
from vermeil_model import (
    Conversations,
    Decoder,
    DrawingParameters,
    Markers,
    PictureEvent,
    Request,
    SamplingParameters,
    TokenEvent,
)
from vermeil_model.testing import small_fused, small_model

MARKERS = Markers(58, 59)
SLOTS = 2
SAID = [4, 5, 6, 7, 8, 9]


def conversations() -> Conversations:
    return Conversations(
        small_fused(), MARKERS, num_slots=SLOTS, drawing=DrawingParameters(steps=2), most_pictures=1
    )


def fake() -> FakeDecoder:
    return FakeDecoder({1: SAID, 2: [MARKERS.begin, Drawn(7), MARKERS.end, *SAID]}, num_slots=SLOTS)


@pytest.fixture(params=["language model", "fused model", "fake"])
def decoding(request: pytest.FixtureRequest) -> Decoding:
    if request.param == "language model":
        return Decoder(small_model(), num_slots=SLOTS)
    return conversations() if request.param == "fused model" else fake()


@pytest.fixture(params=["fused model", "fake"])
def drawing(request: pytest.FixtureRequest) -> Decoding:
    return conversations() if request.param == "fused model" else fake()


def asked(*prompt: int, max_tokens: int = 4) -> Request:
    """Whoever asks 2 first gets a picture first."""
    bias = 1e4 if prompt[0] == 2 else -1e4
    return Request(
        prompt, SamplingParameters(temperature=0, max_tokens=max_tokens, logit_bias={MARKERS.begin: bias})
    )


def run_out(decoding: Decoding) -> list[TokenEvent | PictureEvent]:
    events: list[TokenEvent | PictureEvent] = []
    while decoding.sequences:
        events += decoding.step()
    return events


def tokens(events: Sequence[TokenEvent | PictureEvent], number: int) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent) and event.sequence == number]


def test_each_request_takes_a_place_and_each_prompt_gets_its_first_token(decoding: Decoding) -> None:
    first, second = decoding.add([asked(1, 5), asked(1, 6)])
    assert decoding.sequences == (first, second)
    assert first != second
    assert decoding.num_free == 0
    assert [event.sequence for event in decoding.step()] == [first, second]
    assert decoding.sequences == (first, second)


def test_running_out_of_tokens_ends_a_sequence_and_frees_its_place(decoding: Decoding) -> None:
    numbers = decoding.add([asked(1, 5), asked(1, 6, max_tokens=2)])
    events = run_out(decoding)
    told = [tokens(events, number) for number in numbers]
    assert [len(each) for each in told] == [4, 2]
    for each in told:
        assert [event.finish_reason for event in each] == [None] * (len(each) - 1) + ["length"]
    assert decoding.num_free == SLOTS


def test_who_asks_for_one_token_leaves_with_it(decoding: Decoding) -> None:
    decoding.add([asked(1, 5, max_tokens=1)])
    (event,) = decoding.step()
    assert isinstance(event, TokenEvent)
    assert event.finish_reason == "length"
    assert decoding.num_free == SLOTS


@pytest.mark.parametrize("num_steps", [0, 2])
def test_a_sequence_that_is_removed_is_silent(decoding: Decoding, num_steps: int) -> None:
    first, second = decoding.add([asked(1, 5), asked(1, 6)])
    for _ in range(num_steps):
        decoding.step()
    decoding.remove(first)
    assert decoding.sequences == (second,)
    assert decoding.num_free == 1
    assert {event.sequence for event in run_out(decoding)} == {second}


def test_nothing_runs_and_nothing_is_said(decoding: Decoding) -> None:
    assert list(decoding.add([])) == list(decoding.step()) == []


def test_a_picture_comes_between_its_marks_while_others_go_on(drawing: Decoding) -> None:
    number, other = drawing.add([asked(2, 5), asked(1, 6)])
    events = run_out(drawing)
    mine = [event for event in events if event.sequence == number]
    assert [getattr(event, "token", None) for event in mine[:3]] == [MARKERS.begin, None, MARKERS.end]
    assert isinstance(mine[1], PictureEvent)
    assert mine[1].image_CHW.shape[0] == 3
    assert mine[-1].finish_reason == "length"
    assert len(tokens(events, other)) == 4
