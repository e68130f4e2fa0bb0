"""A model version in int8 answers like any other."""

import asyncio
from pathlib import Path

import torch
from vermeil.generation.v1.generation_pb2 import Sampling
from vermeil_data import TextTokenizer
from vermeil_generator.fakes import publish_tiny_adapter
from vermeil_generator.testing import House, run, running, text_of
from vermeil_model import TextModel, load_checkpoint, save_int8

INT8, MANNER = "models/tiny-int8/versions/1", "models/manner/versions/1"
GREEDY = Sampling(temperature=0.0, max_tokens=12)
PROMPTS = ("to be", "whether 'tis nobler", "the question")


@torch.no_grad()
def naive(model: TextModel, ids: list[int], stop: set[int]) -> list[int]:
    said: list[int] = []
    while len(said) < GREEDY.max_tokens:
        logits = model(torch.tensor([ids + said])).logits
        assert logits is not None
        said.append(int(logits[0, -1].argmax()))
        if said[-1] in stop:
            break
    return said


def test_answers_together_are_those_of_the_naive_forward(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "int8"
    save_int8(folder, house.folder)
    versions = {
        INT8: (house.store.publish(folder, kind="model"), ""),
        MANNER: (publish_tiny_adapter(house.store, tmp_path / "manner", house.folder), INT8),
    }
    model, tokenizer = load_checkpoint(folder), TextTokenizer.load(folder)

    async def ask() -> None:
        async with running(house, adapters=versions, generator_precision="float32") as generator:
            pieces = await asyncio.gather(
                *(generator.ask(model="models/tiny-int8", prompt=p, sampling=GREEDY) for p in PROMPTS),
                generator.ask(model="models/manner", prompt=PROMPTS[0], sampling=GREEDY),
            )
            texts = [text_of(each) for each in pieces]
            stop = set(tokenizer.stop_ids)
            said = [naive(model, tokenizer.encode(p, add_bos=True), stop) for p in PROMPTS]
            assert texts[:3] == [tokenizer.decode(ids) for ids in said]
            assert texts[3] != texts[0]

    run(ask())
