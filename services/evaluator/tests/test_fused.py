"""What models that read and draw promise a task, the fake as well as a network in a folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from vermeil_data import PromptSpeller, TextTokenizer
from vermeil_data.testing import picture_samples
from vermeil_errors import InvalidInput
from vermeil_evaluator.models.fake import FakeModel
from vermeil_evaluator.models.looking import images_of
from vermeil_evaluator.models.model import Model, PictureSize
from vermeil_evaluator.models.opening import open_model
from vermeil_evaluator.requests import (
    Answer,
    Continuation,
    Embed,
    FlowLoss,
    GenerateUntil,
    ImageLoss,
    Loglikelihood,
    Picture,
    Request,
    SampleImage,
    TokenLikelihoods,
)
from vermeil_media import decode_image
from vermeil_model import (
    Conversation,
    FusedModel,
    ImageModel,
    Markers,
    SamplingParameters,
    load_checkpoint,
    save_checkpoint,
    to_pixels,
    token_logprobs,
)

FILES = [sample.segments[-1].data or b"" for sample in picture_samples(4)]
SIZE = PictureSize(8, 8, 3, "stretch")
REQUESTS: list[Request] = [
    GenerateUntil("what is it?", max_tokens=4, images=(FILES[0],)),
    GenerateUntil("is it red?", max_tokens=4, images=(FILES[0],)),
    GenerateUntil("", max_tokens=4, images=(FILES[1],)),
    GenerateUntil("the fox", max_tokens=4),
    GenerateUntil("which?", max_tokens=4, images=(FILES[1], FILES[2])),
    SampleImage("a fox", 3, steps=2),
    SampleImage("", 3, steps=2, solver="euler"),
    ImageLoss(FILES[3], "a fox", 5),
    ImageLoss(FILES[3], "", 5),
    Loglikelihood("the fox jumps"),
]


@pytest.fixture(params=["fake", "folder"])
def model(request: pytest.FixtureRequest, fused_folder: Path) -> Model:
    return FakeModel(condition="text") if request.param == "fake" else open_model(fused_folder)


def ask(model: Model, requests: Sequence[Request]) -> list[Answer]:
    return [answer for batch in model.answer(iter(requests), lambda: None) for answer in batch]


def test_everything_is_answered_in_order(model: Model) -> None:
    kinds = [Continuation] * 5 + [Picture] * 2 + [FlowLoss] * 2 + [TokenLikelihoods]
    assert [type(answer) for answer in ask(model, REQUESTS)] == kinds


def test_company_changes_no_answer(model: Model) -> None:
    together = ask(model, REQUESTS)
    for request, found in zip(REQUESTS, together, strict=True):
        (alone,) = ask(model, [request])
        if isinstance(found, TokenLikelihoods):
            assert isinstance(alone, TokenLikelihoods)
            np.testing.assert_allclose(alone.nats_N, found.nats_N, atol=1e-5)
        elif isinstance(found, FlowLoss):
            assert isinstance(alone, FlowLoss)
            assert alone.value == pytest.approx(found.value, rel=1e-5)
        elif isinstance(found, Picture):
            assert isinstance(alone, Picture)
            pixels = [decode_image(each.png, channels=3).astype(int) for each in (alone, found)]
            assert np.abs(pixels[0] - pixels[1]).max() <= 1
        else:
            assert alone == found


def test_an_answer_depends_on_the_picture_and_a_loss_on_the_prompt(model: Model) -> None:
    asked = [GenerateUntil("", max_tokens=8, images=(file,)) for file in FILES]
    assert len({answer.text for answer in ask(model, asked) if isinstance(answer, Continuation)}) > 1
    values = [found.value for found in ask(model, REQUESTS[7:9]) if isinstance(found, FlowLoss)]
    assert values[0] != values[1]
    assert min(values) > 0


def test_what_is_longer_than_the_context_is_cut_as_in_training(fused_folder: Path) -> None:
    model = open_model(fused_folder)
    long = "seven " * 40  # of the 64 tokens that the model reads
    found = ask(
        model,
        [
            GenerateUntil(long, max_tokens=8, images=(FILES[0],)),
            GenerateUntil(long + "why?", max_tokens=8, images=(FILES[0], FILES[1])),
            SampleImage(long, 3, steps=1),
            SampleImage(long + "and more", 3, steps=1),
            SampleImage("and more", 3, steps=1),
            ImageLoss(FILES[3], long, 5),
        ],
    )
    assert isinstance(found[0], Continuation)
    pictures = [each.png for each in found if isinstance(each, Picture)]
    assert pictures[0] == pictures[1] != pictures[2]


@pytest.fixture
def network(fused_folder: Path) -> FusedModel:
    return load_checkpoint(fused_folder, FusedModel, dtype=torch.float32)


def test_prompts_are_spelled_as_in_training(fused_folder: Path, network: FusedModel) -> None:
    tokenizer = TextTokenizer.load(fused_folder)
    assert tokenizer.boi_id is not None
    assert tokenizer.eoi_id is not None
    markers = Markers(tokenizer.boi_id, tokenizer.eoi_id)
    parameters = SamplingParameters(temperature=0, max_tokens=4, stop_ids=tokenizer.stop_ids)
    image = images_of([FILES[0]], SIZE)[0]
    spelled = {
        "is it?": (["<bos>", "<|user|>"], [*tokenizer.encode("is it?")], ["<|end|>", "<|assistant|>"]),
        "": (["<bos>"], [], []),
    }
    for question, (before, text, after) in spelled.items():
        conversation = Conversation(network, markers)
        conversation.read_tokens([tokenizer.mark_id(mark) for mark in before])  # type: ignore[misc]
        conversation.read_picture(image)
        conversation.read_tokens([*text, *(tokenizer.mark_id(mark) for mark in after)])  # type: ignore[list-item]
        events = conversation.reply(parameters, most_pictures=0)
        tokens = [event.token for event in events]  # type: ignore[union-attr]
        (found,) = ask(open_model(fused_folder), [GenerateUntil(question, max_tokens=4, images=(FILES[0],))])
        assert isinstance(found, Continuation)
        assert found.text == tokenizer.decode([token for token in tokens if token not in tokenizer.stop_ids])


def test_a_picture_is_drawn_as_the_config_says(fused_folder: Path, network: FusedModel) -> None:
    prompt = PromptSpeller(TextTokenizer.load(fused_folder), {"text-to-image": "chat"}).prompt(
        "text-to-image", text="a fox"
    )
    from vermeil_model import draw

    expected = draw(network, [prompt], seeds=[3], steps=2, guidance=2.0, solver="heun")
    (found,) = ask(open_model(fused_folder), [SampleImage("a fox", 3)])
    assert isinstance(found, Picture)
    difference = decode_image(found.png, channels=3).astype(int) - to_pixels(expected)[0].numpy()
    assert np.abs(difference).max() <= 1


def test_text_is_as_likely_as_to_the_text_tower(fused_folder: Path, network: FusedModel) -> None:
    ids = TextTokenizer.load(fused_folder).encode("the fox jumps", add_bos=True)
    (found,) = ask(open_model(fused_folder), [Loglikelihood("the fox jumps")])
    assert isinstance(found, TokenLikelihoods)
    expected = -token_logprobs(network.text, torch.tensor([ids]))[0].numpy()
    np.testing.assert_allclose(found.nats_N, expected, atol=1e-5)


def test_pictures_of_any_size_are_fitted_as_those_of_training(fused_folder: Path) -> None:
    large = picture_samples(1, 20, 30)[0].segments[-1].data or b""
    assert images_of([large], SIZE).shape == (1, 3, 8, 8)
    (found,) = ask(open_model(fused_folder), [GenerateUntil("", max_tokens=2, images=(large,))])
    assert isinstance(found, Continuation)


def test_what_a_model_cannot_do_is_refused_by_name(
    fused_folder: Path, model_folder: Path, network: FusedModel, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"'a text model': looks at no pictures; name a fused model"):
        ask(open_model(model_folder), REQUESTS[:1])
    with pytest.raises(InvalidInput, match="'a fused model': does not answer Embed"):
        ask(open_model(fused_folder), [Embed("fox")])
    image = ImageModel(network.config.image)
    save_checkpoint(tmp_path / "image", image)
    with pytest.raises(InvalidInput, match="does not answer GenerateUntil: it writes no text; choose"):
        ask(open_model(tmp_path / "image"), REQUESTS[:1])
    with pytest.raises(InvalidInput, match="exceed the context of 64 positions"):
        ask(open_model(fused_folder), [GenerateUntil("?", images=(FILES[0],) * 40)])
    with pytest.raises(InvalidInput, match="picture"):
        ask(open_model(fused_folder), [GenerateUntil("?", images=(b"no picture",))])
