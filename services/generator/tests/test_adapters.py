"""Adapters: over one base, in one batch, each as if its weights were merged."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from vermeil.generation.v1.generation_pb2 import Sampling
from vermeil.generation.v1.generation_service_pb2 import (
    ListLoadedModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)
from vermeil_artifacts import ArtifactRef
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_generator.fakes import publish_tiny_adapter
from vermeil_generator.testing import IMAGE_VERSION, SECONDS, VERSION, House, Running, run, running, text_of
from vermeil_model import load_adapter, load_checkpoint, merged, save_adapter, save_checkpoint
from vermeil_model.testing import small_adapter

SEEDS = (1, 2)
GREEDY = Sampling(temperature=0.0, max_tokens=24)
LONG = "to be, or not to be: that is the question. " * 3


@pytest.fixture
def adapters(house: House, tmp_path: Path) -> dict[str, tuple[ArtifactRef, str]]:
    """Adapters over the tiny model, and for each a model that it was merged into."""
    found = {}
    for seed in SEEDS:
        folder = tmp_path / f"adapter-{seed}"
        found[f"models/manner-{seed}/versions/1"] = (
            publish_tiny_adapter(house.store, folder, house.folder, seed=seed),
            VERSION,
        )
        whole = tmp_path / f"merged-{seed}"
        save_checkpoint(whole, merged(load_checkpoint(house.folder), load_adapter(folder)))
        TextTokenizer.load(house.folder).save(whole)
        found[f"models/merged-{seed}/versions/1"] = (house.store.publish(whole, kind="model"), "")
    return found


async def _said(generator: Running, model: str, prompt: str, **fields: Any) -> str:
    return text_of(await generator.ask(model=model, prompt=prompt, sampling=GREEDY, **fields))


def test_answers_are_those_of_the_merged_weights_in_any_company(
    house: House, adapters: dict[str, tuple[ArtifactRef, str]]
) -> None:
    async def ask() -> None:
        async with running(house, adapters=adapters, generator_precision="float32") as generator:
            prompts = ("to be", LONG)
            asked = [(seed, prompt) for seed in SEEDS for prompt in prompts]
            expected = [await _said(generator, f"models/merged-{seed}", p) for seed, p in asked]
            base = [await _said(generator, "models/tiny", prompt) for prompt in prompts]
            assert len({*expected, *base}) > len(prompts)
            for _ in range(2):  # the second time, what was read before is there
                found = await asyncio.gather(
                    *(_said(generator, f"models/manner-{seed}", prompt) for seed, prompt in asked),
                    *(_said(generator, "models/tiny", prompt) for prompt in prompts),
                )
                assert found == [*expected, *base]

    run(ask())


def test_scores_of_a_prompt_are_those_of_the_merged_weights(
    house: House, adapters: dict[str, tuple[ArtifactRef, str]]
) -> None:
    async def ask() -> None:
        async with running(house, adapters=adapters, generator_precision="float32") as generator:
            mine, theirs, base = [
                await generator.ask(model=model, prompt="to be", echo=True, num_logprobs=1, sampling=GREEDY)
                for model in ("models/manner-1", "models/merged-1", "models/tiny")
            ]
            told = [
                [each.logprob for piece in pieces for each in piece.tokens if each.HasField("logprob")]
                for pieces in (mine, theirs, base)
            ]
            assert told[0] == pytest.approx(told[1], abs=1e-4)
            assert told[0] != pytest.approx(told[2], abs=1e-2)

    run(ask())


def test_the_base_is_loaded_once_and_its_adapters_say_what_they_take(
    house: House, adapters: dict[str, tuple[ArtifactRef, str]]
) -> None:
    async def ask() -> None:
        async with running(house, adapters=adapters) as generator:
            for seed in SEEDS:
                await generator.stub.LoadModel(
                    LoadModelRequest(model=f"models/manner-{seed}"), timeout=SECONDS
                )
            loaded = await generator.stub.ListLoadedModels(ListLoadedModelsRequest(), timeout=SECONDS)
            assert [(each.name, each.base) for each in loaded.models] == [
                *((f"models/manner-{seed}/versions/1", VERSION) for seed in SEEDS),
                (VERSION, ""),
            ]
            *small, whole = (each.num_bytes for each in loaded.models)
            assert max(small) < whole
            await generator.stub.UnloadModel(UnloadModelRequest(model=VERSION), timeout=SECONDS)
            loaded = await generator.stub.ListLoadedModels(ListLoadedModelsRequest(), timeout=SECONDS)
            assert not loaded.models

    run(ask())


def test_an_adapter_without_a_base_or_over_a_model_that_draws_is_refused(
    house: House, adapters: dict[str, tuple[ArtifactRef, str]]
) -> None:
    ref, _ = adapters["models/manner-1/versions/1"]
    wrong = {"models/alone/versions/1": (ref, ""), "models/drawn/versions/1": (ref, IMAGE_VERSION)}

    async def ask() -> None:
        async with running(house, adapters=wrong) as generator:
            with pytest.raises(InvalidInput, match="registered without its base"):
                await generator.ask(model="models/alone", prompt="to")
            with pytest.raises(InvalidInput, match="is an adapter of a model that is no language model"):
                await generator.ask(model="models/drawn", prompt="to")

    run(ask())


def test_an_adapter_of_another_size_is_refused(house: House, tmp_path: Path) -> None:
    save_adapter(tmp_path / "other", small_adapter())
    ref = house.store.publish(tmp_path / "other", kind="model")

    async def ask() -> None:
        async with running(house, adapters={"models/other/versions/1": (ref, VERSION)}) as generator:
            with pytest.raises(InvalidInput, match="does not fit its base"):
                await generator.ask(model="models/other", prompt="to")

    run(ask())
