"""How likely a model of text and pictures finds what it reads and says, over real gRPC."""

from typing import Any

import numpy as np
import pytest
import torch
from vermeil.content.v1.content_pb2 import Media, Message, Part, Role
from vermeil.generation.v1.generation_pb2 import Conversation, Sampling
from vermeil.generation.v1.generation_service_pb2 import GenerateResponse
from vermeil_data import ImageEncoding
from vermeil_generator.fakes import tiny_tokenizer
from vermeil_generator.testing import FUSED_MODEL, House, run, running
from vermeil_media import encode_png
from vermeil_model import FusedModel, from_pixels, load_checkpoint, score

TOKENIZER = tiny_tokenizer()
BOI, EOI = TOKENIZER.picture_ids
GREEDY = Sampling(temperature=0, max_tokens=3, logit_bias={BOI: -100.0})


def model_of(house: House) -> FusedModel:
    assert house.fused_ref is not None
    return load_checkpoint(house.store.fetch(house.fused_ref), FusedModel)


def told_of(house: House, **asked: Any) -> list[Any]:
    async def ask() -> list[GenerateResponse]:
        async with running(house) as generator:
            return await generator.ask(model=FUSED_MODEL, sampling=GREEDY, **asked)

    return [token for piece in run(ask()) for token in piece.tokens]


@torch.no_grad()
def test_an_echoed_prompt_and_its_answer_are_told_as_the_model_finds_them(house: House) -> None:
    ids = TOKENIZER.encode("to be", add_bos=True)
    told = told_of(house, prompt="to be", echo=True, num_logprobs=2)
    model = model_of(house)
    prompt, answer = told[: len(ids) - 1], told[len(ids) - 1 :]
    expected = score(model.text, ids, num_logprobs=2)[1:]
    assert [token.logprob for token in prompt] == pytest.approx([each.logprob for each in expected], abs=1e-4)
    assert_likely(model, ids, answer)


@torch.no_grad()
def test_what_is_said_of_a_picture_is_told_as_the_model_finds_it(house: House) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    file = encode_png(pixels)
    parts = [Part(image=Media(inline=file)), Part(text="to")]
    said = Conversation(messages=[Message(role=Role.ROLE_USER, parts=parts)])
    told = told_of(house, conversation=said, num_logprobs=2)
    ids = TOKENIZER.apply_chat_template([{"role": "user", "content": [None, "to"]}])
    shown_CHW = torch.from_numpy(ImageEncoding(8, 8, 3, "stretch").pixels(file, "picture").copy())
    assert_likely(model_of(house), ids, told, shown_CHW)


def assert_likely(
    model: FusedModel, ids: list[int], answer: list[Any], shown_CHW: torch.Tensor | None = None
) -> None:
    """Each token of an answer after a prompt, which shows a picture or none."""
    memory = model.begin(1)
    if shown_CHW is not None:
        start = ids.index(EOI)
        model.read_text(memory, torch.tensor([ids[:start]]))
        model.read_picture(memory, from_pixels(shown_CHW[None]))
        ids = ids[start:]
    logits_V = model.read_text(memory, torch.tensor([ids]))[0, -1]
    assert len(answer) == 3
    for token in answer:
        expected_V = logits_V.log_softmax(-1)
        assert token.logprob == pytest.approx(float(expected_V[token.id]), abs=1e-4)
        assert [top.id for top in token.top] == expected_V.topk(2).indices.tolist()
        logits_V = model.read_text(memory, torch.tensor([[token.id]]))[0, -1]
