from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vermeil_errors import InvalidInput, NotFound, Overloaded
from vermeil_model import (
    Decoder,
    PackedModel,
    Request,
    SamplingParameters,
    TextModel,
    TokenEvent,
    generate,
    score,
)
from vermeil_model.testing import SMALL, small_model, small_tokens

GREEDY = SamplingParameters(temperature=0, max_tokens=12)
MODEL = small_model()
PACKED = PackedModel(MODEL)


def prompt(number: int, length: int) -> list[int]:
    return small_tokens(1, length, start=13 * number)[0].tolist()


@torch.no_grad()
def naive_greedy(model: TextModel, tokens: Sequence[int], num_tokens: int) -> list[int]:
    tokens = list(tokens)
    for _ in range(num_tokens):
        logits = model(torch.tensor([tokens])).logits
        assert logits is not None
        tokens.append(int(logits[0, -1].argmax()))
    return tokens[-num_tokens:]


def collect(events: Sequence[object]) -> dict[int, list[int]]:
    tokens: dict[int, list[int]] = {}
    for event in events:
        tokens.setdefault(event.sequence, []).append(event.token)
    return tokens


@pytest.mark.parametrize(
    "changes",
    [{}, {"qk_norm": False, "tie_embeddings": False}, {"num_key_value_heads": 4}, {"num_key_value_heads": 1}],
)
def test_greedy_output_is_that_of_the_naive_forward(changes: dict[str, object]) -> None:
    model = small_model(**changes)
    prompts = [prompt(number, length) for number, length in enumerate((1, 7, 20, 3, 7))]
    tokens = collect(list(generate(model, prompts, GREEDY, num_slots=3)))
    assert tokens == {n: naive_greedy(model, tokens, 12) for n, tokens in enumerate(prompts)}


@settings(max_examples=25, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=9
    ),
    cancelled=st.lists(st.integers(0, 30), max_size=3),
)
def test_greedy_output_does_not_depend_on_who_else_is_decoded(
    arrivals: list[tuple[int, int, int]], cancelled: list[int]
) -> None:
    decoder = Decoder(PACKED, num_slots=4)
    waiting = [(prompt(n, length), tokens, wait) for n, (length, tokens, wait) in enumerate(arrivals)]
    prompts: dict[int, tuple[list[int], int]] = {}
    produced: dict[int, list[int]] = {}
    pause = step = 0
    while waiting or decoder.sequences:
        arriving = []
        while waiting and pause == 0 and len(arriving) < decoder.num_free:
            tokens, num_tokens, pause = waiting.pop(0)
            arriving.append(Request(tokens, SamplingParameters(temperature=0, max_tokens=num_tokens)))
        pause = max(0, pause - 1)
        for request, number in zip(arriving, decoder.add(arriving), strict=True):
            prompts[number] = (list(request.prompt), request.parameters.max_tokens)
            produced[number] = []
        if step in cancelled and decoder.sequences:
            decoder.remove(decoder.sequences[0])
        for event in decoder.step():
            produced[event.sequence].append(event.token)
        step += 1
    for number, (tokens, num_tokens) in prompts.items():
        expected = naive_greedy(MODEL, tokens, num_tokens)
        assert produced[number] == expected[: len(produced[number])]


def test_decoding_in_bfloat16_follows_the_float32_model() -> None:
    prompts = [prompt(number, length) for number, length in enumerate((3, 9, 6))]
    parameters = SamplingParameters(temperature=0, max_tokens=8, num_logprobs=0)
    half = PackedModel(small_model().to(torch.bfloat16))
    for event in (events := list(generate(half, prompts, parameters))):
        before = [e.token for e in events[: events.index(event)] if e.sequence == event.sequence]
        expected = score(MODEL, [*prompts[event.sequence], *before, event.token])[-1]
        assert event.logprob == pytest.approx(expected.logprob, abs=0.06)


def test_a_seed_gives_the_same_text_in_any_company() -> None:
    seeded = SamplingParameters(seed=7, max_tokens=15, top_k=9, top_p=0.9, temperature=0.8)
    alone = collect(list(generate(PACKED, [prompt(0, 5)], seeded)))[0]
    others = [
        SamplingParameters(max_tokens=9),
        GREEDY,
        SamplingParameters(top_p=0.5, seed=1, max_tokens=4),
        SamplingParameters(repetition_penalty=1.3, logit_bias={3: 4.0}, min_p=0.1, seed=2),
    ]
    prompts = [prompt(n, length) for n, length in enumerate((5, 9, 2, 14, 6))]
    together = collect(list(generate(PACKED, prompts, [seeded, *others])))[0]
    assert together == alone
    assert collect(list(generate(PACKED, [prompt(0, 5)], seeded)))[0] == alone


class Among:
    """Allows two tokens, then only the one that was not taken before."""

    def __init__(self, first: int, second: int) -> None:
        self.tokens = {first, second}
        self.last: int | None = None

    def allowed(self) -> torch.Tensor:
        allowed = torch.zeros(MODEL.config.vocab_size, dtype=torch.bool)
        allowed[list(self.tokens - {self.last})] = True
        return allowed

    def take(self, token: int) -> None:
        self.last = token


def test_a_guide_rules_its_own_sequence_while_others_come_and_go() -> None:
    """Rows move when somebody leaves; guides go with their sequences."""
    decoder = Decoder(PACKED, num_slots=4)
    lengths = (3, 9, 5, 7)
    requests = [
        Request(
            prompt(n, 4 + n), replace(GREEDY, max_tokens=length), guide=Among(n, n + 20) if n % 2 else None
        )
        for n, length in enumerate(lengths)
    ]
    said: dict[int, list[int]] = {number: [] for number in decoder.add(requests)}
    while decoder.sequences:
        for event in decoder.step():
            said[event.sequence].append(event.token)
    for number, length in enumerate(lengths):
        if number % 2:
            assert set(said[number]) == {number, number + 20}
            assert all(one != other for one, other in pairwise(said[number]))
        else:
            assert said[number] == naive_greedy(MODEL, prompt(number, 4 + number), length)


def test_a_sequence_ends_at_a_stop_token_or_at_its_length() -> None:
    expected = naive_greedy(MODEL, prompt(0, 5), 12)
    stop = expected[4]
    parameters = SamplingParameters(temperature=0, stop_ids=frozenset({stop}), max_tokens=12)
    events = list(generate(PACKED, [prompt(0, 5)], parameters))
    first = expected.index(stop)
    assert [event.token for event in events] == expected[: first + 1]
    assert [event.finish_reason for event in events] == [None] * first + ["stop"]
    assert list(generate(PACKED, [prompt(0, 5)], GREEDY))[-1].finish_reason == "length"


def test_a_full_context_ends_the_sequence() -> None:
    parameters = SamplingParameters(temperature=0, max_tokens=1000)
    events = list(generate(PACKED, [prompt(0, 40)], parameters))
    assert len(events) == SMALL.context_length - 40
    assert events[-1].finish_reason == "length"


def test_reported_logprobs_are_those_of_the_naive_forward() -> None:
    parameters = SamplingParameters(temperature=0, max_tokens=6, num_logprobs=3)
    events = list(generate(PACKED, [prompt(0, 5), prompt(1, 8)], [parameters, GREEDY]))
    ours = [event for event in events if event.sequence == 0]
    scores = score(MODEL, prompt(0, 5) + [event.token for event in ours], num_logprobs=3)[5:]
    for event, expected in zip(ours, scores, strict=True):
        assert event.token == expected.token
        assert event.logprob == pytest.approx(expected.logprob, abs=1e-5)
        assert [t.token for t in event.top_logprobs] == [t.token for t in expected.top_logprobs]
    assert all(e.logprob is None and e.top_logprobs == () for e in events if e.sequence == 1)


def test_a_cancelled_sequence_frees_its_slot_at_once() -> None:
    decoder = Decoder(PACKED, num_slots=2)
    first, second = decoder.add([Request(prompt(0, 4), GREEDY), Request(prompt(1, 6), GREEDY)])
    with pytest.raises(Overloaded, match="free slots"):
        decoder.add([Request(prompt(2, 3), GREEDY)])
    decoder.remove(first)
    assert decoder.num_free == 1
    assert [event.sequence for event in decoder.step()] == [second]
    with pytest.raises(NotFound):
        decoder.remove(first)


def test_a_long_prompt_is_read_in_parts_while_others_speak() -> None:
    model = small_model(context_length=160)
    decoder = Decoder(model, num_slots=2, chunk=16)
    speaking, long = prompt(0, 5), prompt(1, 100)
    (first,) = decoder.add([Request(speaking, replace(GREEDY, max_tokens=20))])
    decoder.step()
    (second,) = decoder.add([Request(long, GREEDY)])
    rounds = [[event.sequence for event in decoder.step()] for _ in range(9)]
    assert rounds == [[first]] * 7 + [[second], [first, second]]
    said: dict[int, list[int]] = {first: [], second: []}
    while decoder.sequences:
        for event in decoder.step():
            said[event.sequence].append(event.token)
    assert said[first] == naive_greedy(model, speaking, 20)[9:]
    assert said[second] == naive_greedy(model, long, 12)[2:]


def test_choices_of_one_question_read_it_once_and_the_next_turn_reads_only_what_is_new() -> None:
    model = small_model(context_length=160)
    decoder = Decoder(model, num_slots=4, kept_bytes=2**20)
    question = prompt(0, 40)
    numbers = decoder.add([Request(question, GREEDY)] * 3)
    events = run_out(decoder)
    cached = [next(event.num_cached for event in events if event.sequence == number) for number in numbers]
    assert cached == [0, 32, 32]
    assert all(collect(events)[number] == naive_greedy(model, question, 12) for number in numbers)
    # The last token of the answer is chosen, but nothing has read it: 51 tokens, 48 of them in whole blocks.
    longer = [*question, *collect(events)[numbers[0]], *prompt(1, 9)]
    decoder.add([Request(longer, GREEDY)])
    first, *rest = run_out(decoder)
    assert first.num_cached == 48
    assert [event.num_cached for event in rest] == [0] * 11
    assert [event.token for event in (first, *rest)] == naive_greedy(model, longer, 12)


def run_out(decoder: Decoder) -> list[TokenEvent]:
    events: list[TokenEvent] = []
    while decoder.sequences:
        events += decoder.step()
    return events


def test_memory_follows_what_is_read_and_short_sequences_are_many() -> None:
    model = small_model(context_length=512)
    row_bytes = 512 * 2 * 2 * 2 * 8 * 4
    decoder = Decoder(model, num_slots=16, memory_bytes=2 * row_bytes)
    idle = decoder.num_bytes
    numbers = decoder.add([Request(prompt(n, 3 + n), GREEDY) for n in range(16)])
    assert len({event.sequence for event in decoder.step()}) == 16
    assert idle < decoder.num_bytes <= 2 * row_bytes
    assert collect(run_out(decoder)).keys() == set(numbers)
    assert decoder.num_bytes == idle


def test_where_memory_ends_the_newest_wait_and_nothing_is_lost() -> None:
    model = small_model(context_length=512)
    decoder = Decoder(model, num_slots=4, memory_bytes=1)  # enough for one at full length: 8 × 64, 4 × 128
    growing = replace(GREEDY, max_tokens=150)
    prompts = [prompt(n, 50 + n) for n in range(4)]
    numbers = decoder.add([Request(each, growing) for each in prompts])
    events: list[TokenEvent] = []
    speaking = []
    while decoder.sequences:
        told = decoder.step()
        speaking.append(len(told))
        events += told
    assert max(speaking) == 4
    assert 2 in speaking
    assert [event.sequence for event in events if event.finish_reason] == numbers
    for number, each in zip(numbers, prompts, strict=True):
        assert collect(events)[number] == naive_greedy(model, each, 150)


def test_generation_stops_when_asked() -> None:
    seen: list[int] = []
    for event in generate(PACKED, [prompt(0, 4)], GREEDY, should_stop=lambda: len(seen) >= 3):
        seen.append(event.token)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("tokens", "parameters", "said"),
    [
        ([], GREEDY, "prompt: is empty"),
        ([61], GREEDY, "no token of the model"),
        ([-1], GREEDY, "no token of the model"),
        ([1] * 48, GREEDY, "leaves no room in a context of 48 tokens"),
        ([1], SamplingParameters(logit_bias={99: 1.0}), "logit_bias"),
    ],
)
def test_an_impossible_prompt_is_refused_and_takes_no_slot(
    tokens: list[int], parameters: SamplingParameters, said: str
) -> None:
    decoder = Decoder(PACKED, num_slots=1)
    with pytest.raises(InvalidInput, match=said):
        decoder.add([Request(tokens, parameters)])
    assert decoder.num_free == 1


def test_parameters_match_prompts_in_number() -> None:
    with pytest.raises(InvalidInput, match="do not match 1 prompts"):
        generate(PACKED, [[1]], [GREEDY, GREEDY])
