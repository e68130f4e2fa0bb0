import dataclasses

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import FUSIONS, SamplingParameters, sample_in_context
from vermeil_model.conversation import (
    Conversation,
    DrawingParameters,
    Markers,
    PictureEvent,
    continue_text,
    picture_seed,
)
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_sampling import draw_noise
from vermeil_model.testing import DRAWN, GIVEN, lay_out, small_fused, small_images

MARKERS = Markers(58, 59)
GREEDY = SamplingParameters(temperature=0, max_tokens=6)
QUICK = DrawingParameters(steps=3)


def eager_to_draw(fusion: str = "alloy", at: int = 7) -> FusedModel:
    """A model that says <boi> as soon as it has read the token `at`, and never otherwise."""
    model = small_fused(fusion)
    with torch.no_grad():
        model.text.embedding.weight[MARKERS.begin] = 0
    read = model.read_text

    def read_text(memory, tokens, lengths=None):
        logits = read(memory, tokens, lengths)
        logits[..., MARKERS.begin] = torch.where(tokens == at, 1e4, -1e4)
        return logits

    model.read_text = read_text
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_picture_comes_after_its_marker_and_text_goes_on(fusion: str) -> None:
    model = eager_to_draw(fusion)
    conversation = Conversation(model, MARKERS)
    conversation.read_tokens([1, 20, 7])
    events = list(conversation.reply(GREEDY, QUICK))
    tokens = [event.token for event in events if not isinstance(event, PictureEvent)]
    pictures = [event for event in events if isinstance(event, PictureEvent)]
    assert tokens[:2] == list(MARKERS)
    assert isinstance(events[1], PictureEvent)
    assert len(pictures) == 1
    assert pictures[0].image_CHW.shape == (3, 12, 8)
    assert events[-1].finish_reason == "length"
    assert [event.finish_reason for event in events[:1] + events[2:-1]] == [None] * (len(events) - 2)
    inputs = lay_out([[[[1, 20, 7, MARKERS.begin], GIVEN, tokens[1:]]]], 4 + len(tokens) - 1, 1)
    logits = model.text.readout(
        model(inputs, pictures[0].image_CHW[None, None], torch.ones(1, 1)).hidden_BTD
    )[0]
    logits[:, MARKERS.begin] = -torch.inf
    assert logits[4:-1].argmax(-1).tolist() == tokens[2:]


@torch.no_grad()
def test_the_picture_is_the_one_its_prompt_asks_for() -> None:
    model = eager_to_draw()
    conversation = Conversation(model, MARKERS)
    conversation.read_tokens([1, 20, 7])
    parameters = dataclasses.replace(GREEDY, seed=5)
    (picture,) = (e for e in conversation.reply(parameters, QUICK) if isinstance(e, PictureEvent))
    assert picture.seed == 5
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([[1, 20, 7, MARKERS.begin]]))
    expected = sample_in_context(
        model.painter(), model.context(memory), seeds=[5], steps=3, guidance=QUICK.guidance
    )
    torch.testing.assert_close(picture.image_CHW, expected[0])
    inputs = lay_out([[[[1, 20, 7, MARKERS.begin], DRAWN]]], 4, 1)
    shown = torch.randn(1, 3, 12, 8, generator=torch.Generator().manual_seed(5))
    plain = sample_in_context(model.painter(), model.context(memory), seeds=[5], steps=1)
    at_once = model(inputs, shown[None], torch.zeros(1, 1)).predicted_BMCHW[0]
    torch.testing.assert_close(plain, at_once, atol=1e-5, rtol=0)


def test_a_given_picture_is_read_once_for_all_questions() -> None:
    model, image = small_fused(), small_images(1)[0]
    looked = []
    read_picture = model.read_picture
    model.read_picture = lambda *given: looked.append(1) or read_picture(*given)
    conversation = Conversation(model, MARKERS)
    conversation.read_tokens([1])
    conversation.read_picture(image)
    answers = []
    for question in ([4, 5], [6, 11, 12]):
        branch = conversation.branch()
        branch.read_tokens(question)
        answers.append([event.token for event in branch.reply(GREEDY, most_pictures=0)])
    assert len(looked) == 1
    for question, answer in zip(([4, 5], [6, 11, 12]), answers, strict=True):
        alone = Conversation(model, MARKERS)
        alone.read_tokens([1])
        alone.read_picture(image)
        alone.read_tokens(question)
        assert [event.token for event in alone.reply(GREEDY, most_pictures=0)] == answer


def test_no_more_pictures_are_drawn_than_allowed() -> None:
    conversation = Conversation(eager_to_draw(), MARKERS)
    conversation.read_tokens([1, 7])
    events = list(conversation.reply(GREEDY, QUICK, most_pictures=0))
    assert not any(isinstance(event, PictureEvent) for event in events)
    assert MARKERS.begin not in [event.token for event in events]


def test_a_reply_ends_with_a_stop_token_or_with_the_context() -> None:
    model = small_fused()
    conversation = Conversation(model, MARKERS)
    conversation.read_tokens([1, 2, 3])
    first = next(iter(conversation.branch().reply(GREEDY, most_pictures=0))).token
    stopping = dataclasses.replace(GREEDY, stop_ids=frozenset([first]))
    (event,) = conversation.branch().reply(stopping, most_pictures=0)
    assert event.finish_reason == "stop"
    long = dataclasses.replace(GREEDY, max_tokens=500)
    events = list(conversation.reply(long, most_pictures=0))
    assert len(events) == model.config.text.context_length - 3
    assert events[-1].finish_reason == "length"
    with pytest.raises(InvalidInput, match="exceed the context"):
        conversation.read_tokens([1])
    with pytest.raises(InvalidInput, match="left in the context"):
        conversation.read_picture(small_images(1)[0])


def test_many_rows_answer_at_once_as_they_would_alone() -> None:
    model, images = small_fused(), small_images(3)
    prompts = [[4, 5, 9], [6], [8, 2]]
    memory = model.begin(3)
    model.read_text(memory, torch.full((3, 1), 1))
    model.read_picture(memory, images)
    lengths = [len(prompt) for prompt in prompts]
    padded = torch.tensor([prompt + [0] * (3 - len(prompt)) for prompt in prompts])
    logits = model.read_text(memory, padded, lengths)
    last = logits[torch.arange(3), torch.tensor(lengths) - 1]
    kinds = [GREEDY, dataclasses.replace(GREEDY, max_tokens=2), SamplingParameters(seed=3, max_tokens=5)]
    answers = continue_text(model, memory, last, kinds)
    assert [len(answer) for answer in answers] == [6, 2, 5]
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        alone = model.begin(1)
        model.read_text(alone, torch.tensor([[1]]))
        model.read_picture(alone, images[row : row + 1])
        logits = model.read_text(alone, torch.tensor([prompt]))[:, -1]
        assert continue_text(model, alone, logits, [kinds[row]]) == [answer]


def test_no_two_pictures_of_the_answers_to_one_question_begin_as_the_same_noise() -> None:
    seeds = [picture_seed(7 + choice, number) for choice in range(128) for number in range(8)]
    noise_BCHW = draw_noise(small_fused().config.image, seeds)
    assert len(noise_BCHW[:, 0, 0, 0].unique()) == len(seeds)
    assert seeds == [picture_seed(7 + choice, number) for choice in range(128) for number in range(8)]


def test_bad_requests_are_refused_by_field() -> None:
    model = small_fused()
    conversation = Conversation(model, MARKERS)
    with pytest.raises(InvalidInput, match="Read a prompt first"):
        next(iter(conversation.reply(GREEDY)))
    with pytest.raises(InvalidInput, match="is no token"):
        conversation.read_tokens([61])
    with pytest.raises(InvalidInput, match="not of shape"):
        conversation.read_picture(torch.zeros(3, 8, 8))
    with pytest.raises(InvalidInput, match="steps"):
        DrawingParameters(steps=0)
    conversation.read_tokens([1])
    memory = model.begin(1)
    with pytest.raises(InvalidInput, match="do not match 1 rows"):
        sample_in_context(model.painter(), model.context(memory), seeds=[1, 2])
