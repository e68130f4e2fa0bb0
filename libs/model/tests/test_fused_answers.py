"""Many prompts at once get what each would get alone, and what a conversation says and draws."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import FUSIONS, SamplingParameters, sample_images, token_logprobs
from vermeil_model.conversation import Conversation, Markers, PictureEvent
from vermeil_model.flow import LEAST_REMAINING_TIME, add_noise
from vermeil_model.fused_answers import Prompt, answer, draw, prompted_losses, read_prompts, text_logprobs
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_sampling import draw_noise
from vermeil_model.picture_losses import fixed_times, picture_losses
from vermeil_model.testing import (
    BY_CLASS,
    DRAWN,
    lay_out,
    small_conditions,
    small_fused,
    small_image_model,
    small_images,
    small_model,
    small_tokens,
)

MARKERS = Markers(58, 59)
NEVER = {MARKERS.begin: -1e9}
GREEDY = SamplingParameters(temperature=0, max_tokens=6, logit_bias=NEVER)
IMAGES = small_images(3)
PROMPTS: Sequence[Prompt] = [
    [[1, MARKERS.begin], IMAGES[0], [MARKERS.end, 4, 5, 9]],
    [[1, 7, 20]],
    [[1, MARKERS.begin], IMAGES[0], [MARKERS.end, 6]],
    [[1], [], [MARKERS.begin], IMAGES[1], [MARKERS.end], [8, 2]],
    [[1, 7, 20, 33]],
    [[1, MARKERS.begin], IMAGES[2], [MARKERS.end, 3, MARKERS.begin], IMAGES[0], [MARKERS.end]],
]
TO_DRAW: Sequence[Prompt] = [[[1, 20, 7, MARKERS.begin]], [], [[1, 9, MARKERS.begin]], PROMPTS[0]]


def converse(model: FusedModel, prompt: Prompt) -> Conversation:
    conversation = Conversation(model, MARKERS)
    tokens = [token for run in prompt if not isinstance(run, torch.Tensor) for token in run]
    pictures = iter(run for run in prompt if isinstance(run, torch.Tensor))
    for token in tokens:
        if token == MARKERS.begin:
            conversation.read_picture(next(pictures))
        elif token != MARKERS.end:
            conversation.read_tokens([token])
    return conversation


@pytest.mark.parametrize("fusion", FUSIONS)
def test_many_prompts_are_answered_as_one_after_the_other_and_in_conversation(fusion: str) -> None:
    model = small_fused(fusion)
    together = answer(model, PROMPTS, [GREEDY] * len(PROMPTS), batch=4)
    for prompt, found in zip(PROMPTS, together, strict=True):
        assert answer(model, [prompt], [GREEDY]) == [found]
        events = list(converse(model, prompt).reply(GREEDY, most_pictures=0))
        assert [event.token for event in events] == found.tokens
        assert events[-1].finish_reason == found.finish_reason == "length"


def test_an_answer_ends_with_a_stop_token_its_most_tokens_or_the_context() -> None:
    model = small_fused()
    (whole,) = answer(model, [PROMPTS[1]], [GREEDY])
    stopping = dataclasses.replace(GREEDY, stop_ids=frozenset([whole.tokens[2]]))
    long = dataclasses.replace(GREEDY, max_tokens=500)
    stopped, short, longest = answer(
        model, [PROMPTS[1]] * 3, [stopping, dataclasses.replace(GREEDY, max_tokens=2), long]
    )
    assert stopped == (whole.tokens[: whole.tokens.index(whole.tokens[2])], "stop")
    assert short == (whole.tokens[:2], "length")
    assert longest.finish_reason == "length"
    assert len(longest.tokens) == model.config.text.context_length - 3 + 1


def test_what_prompts_share_is_read_once() -> None:
    model, pictures, texts = small_fused(), [], []
    read_picture, read_text = model.read_picture, model.read_text
    model.read_picture = lambda memory, images: pictures.append(len(images)) or read_picture(memory, images)
    model.read_text = lambda *given: texts.append(len(given[1])) or read_text(*given)
    shown = [
        [[1, MARKERS.begin], IMAGES[row].clone(), [MARKERS.end, 4 + ask]]
        for row in (0, 1)
        for ask in (0, 1, 2)
    ]
    read_prompts(model, [*shown, shown[0]])
    assert pictures == [2]
    assert texts == [1, 6]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_many_pictures_are_drawn_as_each_would_be(fusion: str) -> None:
    model = small_fused(fusion)
    seeds = [5, 6, 7, 8]
    together = draw(model, TO_DRAW, seeds=seeds, steps=3, batch=2)
    for prompt, seed, image_CHW in zip(TO_DRAW, seeds, together, strict=True):
        alone = draw(model, [prompt], seeds=[seed], steps=3)
        torch.testing.assert_close(alone[0], image_CHW, atol=1e-5, rtol=0)


def test_a_picture_is_the_one_a_conversation_draws() -> None:
    model = small_fused()
    eager = dataclasses.replace(GREEDY, seed=5, logit_bias={MARKERS.begin: 1e9})
    conversation = converse(model, [[1, 20, 7]])
    (picture,) = (event for event in conversation.reply(eager) if isinstance(event, PictureEvent))
    (drawn,) = draw(model, TO_DRAW[:1], seeds=[5], solver="euler")
    torch.testing.assert_close(drawn, picture.image_CHW, atol=1e-5, rtol=0)


def test_who_asks_for_nothing_gets_what_the_image_tower_draws_alone() -> None:
    model = small_fused()
    expected = sample_images(model.image, seeds=[3], steps=3)
    torch.testing.assert_close(draw(model, [[]], seeds=[3], steps=3), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_picture_costs_what_the_network_makes_of_it_in_one_pass(fusion: str) -> None:
    model, prompts = small_fused(fusion), [*TO_DRAW[:3], [[1, 8, 20, 7, MARKERS.begin]]]
    images, seeds = small_images(4), [3, 4, 5, 6]
    found = prompted_losses(model, prompts, images, seeds=seeds, num_times=3, batch=2)
    rows = [[[*map(list, prompt), DRAWN]] for prompt in prompts]
    inputs = lay_out(rows, 5, 1)
    noise, total = draw_noise(model.config.image, seeds), torch.zeros(4)
    with torch.no_grad():
        for time in fixed_times(3):
            noisy = add_noise(images, noise, time.expand(4))
            predicted = model(inputs, noisy[:, None], time.expand(4, 1)).predicted_BMCHW[:, 0]
            velocity_error = (predicted - images) / (1 - time).clamp_min(LEAST_REMAINING_TIME)
            total += velocity_error.square().mean((1, 2, 3))
    torch.testing.assert_close(found, total / 3, atol=1e-4, rtol=1e-4)


def test_a_picture_costs_an_image_model_the_same_by_its_own_conditions() -> None:
    model, images = small_image_model(**BY_CLASS), small_images(2)
    context = model.read(small_conditions(2, model.config))
    together = picture_losses(model, context, images, seeds=[1, 2])
    alone = picture_losses(model, context.rows(slice(1, 2)), images[1:], seeds=[2])
    torch.testing.assert_close(alone, together[1:], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together, picture_losses(model, None, images, seeds=[1, 2]))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_text_alone_is_as_likely_as_to_the_text_tower(fusion: str) -> None:
    model, tokens = small_fused(fusion), small_tokens(3, 20)
    expected = token_logprobs(model.text, tokens)
    torch.testing.assert_close(text_logprobs(model, tokens), expected, atol=1e-5, rtol=0)


def test_behind_shut_gates_text_and_pictures_cost_what_they_cost_the_backbones() -> None:
    model, text, image = small_fused(), small_model(), small_image_model(**BY_CLASS)
    model.set_openness(0)
    tokens, images = small_tokens(3, 20), small_images(3)
    torch.testing.assert_close(text_logprobs(model, tokens), token_logprobs(text, tokens), atol=1e-5, rtol=0)
    fused = prompted_losses(model, TO_DRAW[:3], images, seeds=[1, 2, 3])
    expected = picture_losses(image, None, images, seeds=[1, 2, 3])
    torch.testing.assert_close(fused, expected, atol=1e-4, rtol=1e-4)


def test_bad_prompts_are_refused_by_field() -> None:
    model = small_fused()
    with pytest.raises(InvalidInput, match="End it with a token"):
        answer(model, [[[1], IMAGES[0]]], [GREEDY])
    with pytest.raises(InvalidInput, match="parameters = 2: do not match 1 prompts"):
        answer(model, [[[1]]], [GREEDY] * 2)
    with pytest.raises(InvalidInput, match="seeds = 0: do not match 1 prompts"):
        draw(model, [[[1]]], seeds=[])
    with pytest.raises(InvalidInput, match="is no token"):
        answer(model, [[[61]]], [GREEDY])
    with pytest.raises(InvalidInput, match="not of shape"):
        answer(model, [[torch.zeros(3, 8, 8), [1]]], [GREEDY])
    with pytest.raises(InvalidInput, match="exceed the context of 48"):
        answer(model, [[[1] * 49]], [GREEDY])
    with pytest.raises(InvalidInput, match="num_times = 0"):
        prompted_losses(model, [[]], IMAGES[:1], seeds=[1], num_times=0)
