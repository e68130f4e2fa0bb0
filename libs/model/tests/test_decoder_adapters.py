"""The decoder with adapters: every sequence says what the merged weights say, whoever runs beside it."""

import pytest
from vermeil_model import Decoder, PackedAdapter, PackedModel, Request, SamplingParameters, generate, merged
from vermeil_model.testing import small_adapter, small_model, small_tokens

BASE = small_model()
ADAPTERS = [
    small_adapter(1),
    small_adapter(2, rank=5),
    small_adapter(3, targets=("q_proj", "v_proj", "down_proj")),
]
SHARED = small_tokens(1, 34)[0].tolist()
PROMPTS = [SHARED, SHARED[:20], [5, 6], [*SHARED[:33], 7]]
GREEDY = SamplingParameters(temperature=0.0, max_tokens=9)
WHO = [None, 0, 1, 2]


def alone(who: int | None, prompt: list[int]) -> list[int]:
    model = BASE if who is None else merged(BASE, ADAPTERS[who])
    return [event.token for event in generate(model, [prompt], GREEDY)]


EXPECTED = {(who, place): alone(who, prompt) for who in WHO for place, prompt in enumerate(PROMPTS)}


@pytest.mark.parametrize("kept_bytes", [0, 10**7])
@pytest.mark.parametrize("chunk", [16, 256])
def test_answers_are_those_of_the_merged_weights_in_any_company(kept_bytes: int, chunk: int) -> None:
    packed = PackedModel(BASE)
    ready = [PackedAdapter(each, packed) for each in ADAPTERS]
    decoder = Decoder(packed, num_slots=5, kept_bytes=kept_bytes, chunk=chunk)
    waiting = [(who, place) for place in range(len(PROMPTS)) for who in (*WHO, *reversed(WHO))]
    asked: dict[int, tuple[int | None, int]] = {}
    said: dict[int, list[int]] = {}
    while waiting or decoder.sequences:
        if waiting and decoder.num_free:  # one a step, so that they come and go at different times
            who, place = waiting.pop()
            adapter = None if who is None else ready[who]
            (number,) = decoder.add([Request(PROMPTS[place], GREEDY, adapter=adapter)])
            asked[number], said[number] = (who, place), []
        for event in decoder.step():
            said[event.sequence].append(event.token)
    assert {number: EXPECTED[each] for number, each in asked.items()} == said


def test_the_models_differ_so_that_the_test_can_fail() -> None:
    for place in range(len(PROMPTS)):
        assert len({tuple(EXPECTED[who, place]) for who in WHO}) > 2


def test_what_was_read_with_one_adapter_is_of_use_to_it_alone() -> None:
    packed = PackedModel(BASE)
    first, second = (PackedAdapter(each, packed) for each in ADAPTERS[:2])
    decoder = Decoder(packed, kept_bytes=10**7)

    def num_cached(adapter: PackedAdapter | None) -> int:
        decoder.add([Request(SHARED, SamplingParameters(max_tokens=1, temperature=0.0), adapter=adapter)])
        (event,) = decoder.step()
        return event.num_cached

    assert [num_cached(each) for each in (first, second, None)] == [0, 0, 0]
    assert [num_cached(each) for each in (None, second, first)] == [32, 32, 32]
