"""Conversations taking turns: the same answers in any company, prompts read once, pictures in between."""

import pytest
import torch
from vermeil_errors import InvalidInput, NotFound, Overloaded
from vermeil_model import (
    FUSIONS,
    Conversation,
    Conversations,
    DrawingParameters,
    Easel,
    Request,
    TokenEvent,
    from_pixels,
    to_pixels,
)
from vermeil_model.read_before import ReadBefore
from vermeil_model.testing import SMALL, small_fused

from .conversing import (
    CALLS,
    MARKERS,
    QUICK,
    answers,
    asked,
    drawn_in,
    pictures,
    shown_then,
    tokens_of,
)


def test_in_company_each_says_and_draws_what_it_would_alone() -> None:
    model, (one, other) = small_fused(), pictures(2)
    requests = [
        asked(shown_then(4, 5), one),
        asked([1, 9], seed=3, logit_bias=CALLS),
        asked(shown_then(6), other, temperature=1, seed=5),
        asked([1, 2, 3], max_tokens=2),
    ]
    together = answers(Conversations(model, MARKERS, num_slots=3, drawing=QUICK), requests)
    for request, events in zip(requests, together, strict=True):
        (alone,) = answers(Conversations(model, MARKERS, drawing=QUICK), [request])
        assert tokens_of(events) == tokens_of(alone)
        for mine, theirs in zip(drawn_in(events), drawn_in(alone), strict=True):
            torch.testing.assert_close(mine, theirs)
    assert len(drawn_in(together[1])) == 1
    assert [events[-1].finish_reason for events in together] == ["length"] * 4


def test_it_says_what_a_conversation_by_itself_does() -> None:
    model, (picture,) = small_fused(), pictures(1)
    request = asked(shown_then(4, 5), picture, seed=2, logit_bias={MARKERS.begin: 4.0})
    (events,) = answers(Conversations(model, MARKERS, drawing=QUICK), [request])
    conversation = Conversation(model, MARKERS)
    conversation.read_tokens([1])
    conversation.read_picture(from_pixels(picture[None])[0])
    conversation.read_tokens([4, 5])
    direct = list(conversation.reply(request.parameters, QUICK))
    assert tokens_of(events) == tokens_of(direct)


def test_while_one_draws_the_others_speak() -> None:
    conversations = Conversations(small_fused(), MARKERS, drawing=DrawingParameters(steps=20))
    drawing, speaking = conversations.add([asked([1, 9], logit_bias=CALLS), asked([1, 2], max_tokens=9)])
    said = [event.sequence for _ in range(9) for event in conversations.step()]
    assert said == [drawing, *[speaking] * 9]
    assert conversations.sequences == (drawing,)


@pytest.mark.parametrize(("fusion", "kept_bytes"), [("alloy", 0), *((fusion, 2**30) for fusion in FUSIONS)])
def test_a_second_question_about_a_picture_reads_only_its_words(fusion: str, kept_bytes: int) -> None:
    model, (one, other) = small_fused(fusion), pictures(2)
    looked = []
    read_picture = model.read_picture
    model.read_picture = lambda *given: looked.append(1) or read_picture(*given)
    conversations = Conversations(model, MARKERS, kept_bytes=kept_bytes)
    first, second, third = shown_then(4, 5), shown_then(4, 6, 7), shown_then(4, 5)
    requests = [asked(first, one), asked(second, one), asked(third, other), asked(first, one)]
    told = [answers(conversations, [request])[0] for request in requests]
    cached = [events[0].num_cached for events in told]
    num_patches = model.config.image.num_patches
    whole = num_patches + 4
    assert cached == ([0, whole, 1, whole] if kept_bytes else [0, 0, 0, 0])
    assert len(looked) == (2 if kept_bytes else 4)
    for request, events in zip(requests, told, strict=True):
        (fresh,) = answers(Conversations(model, MARKERS), [request])
        assert tokens_of(events) == tokens_of(fresh)


def test_what_runs_is_shared_too_so_choices_of_one_question_read_it_once() -> None:
    model, (picture,) = small_fused(), pictures(1)
    prompt = shown_then(4, 5)
    requests = [asked(prompt, picture, temperature=1, seed=seed) for seed in (1, 2)]
    conversations = Conversations(model, MARKERS)
    conversations.add(requests)
    first, second = conversations.step()
    assert (first.num_cached, second.num_cached) == (0, len(prompt) + model.config.image.num_patches - 1)
    together = [[event.token for event in conversations.step()] for _ in range(4)]
    fresh = [tokens_of(answers(Conversations(model, MARKERS), [request])[0]) for request in requests]
    assert [first.token, second.token] == [tokens[0] for tokens in fresh]
    assert together == [list(pair) for pair in zip(*(tokens[1:] for tokens in fresh), strict=True)]


def test_a_conversation_goes_on_from_its_own_answer_but_drawn_pictures_are_read_as_shown() -> None:
    conversations = Conversations(small_fused(), MARKERS, kept_bytes=2**30, drawing=QUICK)
    (said,) = answers(conversations, [asked([1, 20, 9])])
    prompt = [1, 20, 9, *tokens_of(said), 30]
    (events,) = answers(conversations, [asked(prompt, logit_bias=CALLS)])
    # The last token of an answer is never read with it; of a prompt it never comes from the cache.
    assert events[0].num_cached == len(prompt) - 2
    (image_CHW,) = drawn_in(events)
    again = [*prompt, *MARKERS, 4]
    (shown,) = answers(conversations, [asked(again, to_pixels(image_CHW[None])[0].permute(2, 0, 1))])
    assert shown[0].num_cached == len(prompt)


def test_only_as_many_of_the_last_conversations_are_kept_as_there_is_memory_for() -> None:
    model = small_fused()
    conversations = Conversations(model, MARKERS, kept_bytes=2 * Conversation(model, MARKERS).num_bytes)
    for start in (10, 20, 30):
        answers(conversations, [asked([start, 2, 3])])
    cached = [answers(conversations, [asked([start, 2, 4])])[0][0].num_cached for start in (20, 10)]
    assert cached == [2, 0]


def test_who_is_removed_frees_the_place_at_once_even_while_drawing() -> None:
    conversations = Conversations(small_fused(), MARKERS, num_slots=1, drawing=QUICK)
    (number,) = conversations.add([asked([1, 9], logit_bias=CALLS)])
    for _ in range(2):
        conversations.step()
    with pytest.raises(Overloaded):
        conversations.add([asked([1])])
    conversations.remove(number)
    assert conversations.num_free == 1
    with pytest.raises(NotFound):
        conversations.remove(number)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked([]), "prompt"),
        (asked([5] * 48), "prompt"),
        (asked(shown_then(*[5] * 42), pictures(1)[0]), "prompt"),
        (asked(shown_then(5)), "pictures"),
        (asked([1, MARKERS.begin, 5], pictures(1)[0]), "pictures"),
        (asked([1, 5], pictures(1)[0]), "pictures"),
        (asked([1, 61]), "prompt"),
        (asked([1], logit_bias={61: 1.0}), "logit_bias"),
        (asked(shown_then(5), torch.zeros(3, 8, 8)), "images"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is(request_: Request, field: str) -> None:
    conversations = Conversations(small_fused(), MARKERS)
    with pytest.raises(InvalidInput) as refused:
        conversations.add([asked([1]), request_])
    assert refused.value.violations[0].field == field
    assert conversations.sequences == ()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_log_probabilities_are_the_models_own_whatever_may_be_chosen(fusion: str) -> None:
    model, (picture,) = small_fused(fusion), pictures(1)
    request = asked(shown_then(4, 5), picture, num_logprobs=2, max_tokens=3, repetition_penalty=2.0)
    events, silent = answers(Conversations(model, MARKERS), [request, asked([1, 9])])
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([[1, MARKERS.begin]]))
    model.read_picture(memory, from_pixels(picture[None]))
    logits_V = model.read_text(memory, torch.tensor([[MARKERS.end, 4, 5]]))[0, -1]
    for event in events:
        assert isinstance(event, TokenEvent)
        expected_V = logits_V.log_softmax(-1)
        assert event.logprob == pytest.approx(float(expected_V[event.token]), abs=1e-4)
        best, tokens = expected_V.topk(2)
        assert [top.token for top in event.top_logprobs] == tokens.tolist()
        torch.testing.assert_close(torch.tensor([top.logprob for top in event.top_logprobs]), best)
        logits_V = model.read_text(memory, torch.tensor([[event.token]]))[0, -1]
    assert all(event.logprob is None for event in silent if isinstance(event, TokenEvent))


def test_a_long_prompt_is_read_in_parts_while_others_speak() -> None:
    conversations = Conversations(small_fused(), MARKERS, chunk=4)
    (speaking,) = conversations.add([asked([1, 2], max_tokens=9)])
    conversations.step()
    (reading,) = conversations.add([asked([1, *range(20, 31)])])
    said = [[event.sequence for event in conversations.step()] for _ in range(5)]
    assert said == [[speaking]] * 3 + [[reading], [speaking, reading]]


def test_who_leaves_while_drawing_leaves_the_easel_even_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small_fused()
    painter, looks = model.painter(), []

    class Watched:
        config = painter.config

        def __call__(self, *given: object, **named: object) -> torch.Tensor:
            looks.append(1)
            return painter(*given, **named)

    easel = Easel(Watched(), torch.device("cpu"))
    conversations = Conversations(model, MARKERS, easel=easel)
    (drawing,) = conversations.add([asked([1, 9], logit_bias=CALLS)])
    while not looks:
        conversations.step()

    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ReadBefore, "keep", fails)
    with pytest.raises(MemoryError):
        conversations.remove(drawing)
    seen = len(looks)
    easel.move()
    assert len(looks) == seen


def test_memory_is_given_back_when_nobody_writes() -> None:
    conversations = Conversations(small_fused(), MARKERS, num_slots=3)
    least = conversations.num_bytes
    conversations.add([asked(shown_then(5), pictures(1)[0], max_tokens=40)] * 3)
    while conversations.sequences:
        conversations.step()
    assert conversations.num_bytes == least


def test_a_prompt_may_fill_all_of_the_context_but_one_position() -> None:
    longest = asked(shown_then(*[5] * 41), pictures(1)[0], max_tokens=9)
    (events,) = answers(Conversations(small_fused(), MARKERS), [longest])
    assert (len(events), events[0].finish_reason) == (1, "length")


class Silent:
    """Allows two tokens, and so no picture."""

    def allowed(self) -> torch.Tensor:
        allowed = torch.zeros(SMALL.vocab_size, dtype=torch.bool)
        allowed[[7, 8]] = True
        return allowed

    def take(self, token: int) -> None:
        assert token in (7, 8)


def test_a_guide_rules_its_own_conversation_and_forbids_pictures_too() -> None:
    (shown,) = pictures(1)
    requests = [asked(shown_then(5), shown), asked(shown_then(5), shown, logit_bias=CALLS)]
    (expected,) = answers(Conversations(small_fused(), MARKERS, drawing=QUICK), requests[:1])
    guided = requests[1]._replace(guide=Silent())
    free, ruled = answers(Conversations(small_fused(), MARKERS, drawing=QUICK), [requests[0], guided])
    assert tokens_of(free) == tokens_of(expected)
    assert set(tokens_of(ruled)) <= {7, 8}
    assert len(ruled) == 5
