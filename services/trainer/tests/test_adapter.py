"""Adapters: learned by the same loop as whole models, kept apart from their base."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from vermeil_data import TokenizerSpec, encode_dataset, fit_tokenizer, open_dataset, open_encoded
from vermeil_errors import InvalidInput
from vermeil_jobs import JobState
from vermeil_model import load_adapter, load_checkpoint, merged
from vermeil_trainer.reading import recipe_from_dict, recipe_to_message
from vermeil_trainer.testing import World, write_words
from vermeil_trainer.train import Trained, train

Small = Callable[..., dict[str, Any]]
ADAPTER = {"rank": 4, "alpha": 8}
OPTIMIZER = {"kind": "adamw", "learning_rate": 0.02}


def _encoded(raw: Path, folder: Path) -> Any:
    if not folder.exists():
        dataset = open_dataset(raw)
        encode_dataset(dataset, fit_tokenizer(dataset, TokenizerSpec("byte")), folder)
    return open_encoded(folder)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("words") / "raw")


@pytest.fixture(scope="module")
def base(small: Small, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return train(recipe_from_dict(small()), _encoded(raw, folder / "encoded"), folder / "base").model


def _adapt(small: Small, base: Path, raw: Path, folder: Path, **options: Any) -> Trained:
    changes = {"adapter": ADAPTER | options.pop("adapter", {}), "optimizer": OPTIMIZER}
    recipe = small(name="manner", **changes) | {"model": {"initial": str(base)}}
    encoded = _encoded(raw, folder.parent / "encoded")
    return train(recipe_from_dict(recipe), encoded, folder, initial=base, **options)


def test_a_run_writes_the_adapter_alone_and_it_is_better_than_its_base(
    small: Small, base: Path, raw: Path, tmp_path: Path
) -> None:
    trained = _adapt(small, base, raw, tmp_path / "run")
    names = {path.name for path in trained.model.iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "model_card.json"}
    adapter = load_adapter(trained.model)
    assert (adapter.config.rank, adapter.config.alpha, adapter.base) == (4, 8.0, str(base))
    card = json.loads((trained.model / "model_card.json").read_text())
    assert card["parameters"] == adapter.num_parameters == trained.parameters
    assert card["recipe"]["adapter"] == {"rank": 4, "alpha": 8.0, "targets": "all"}
    before = json.loads((base / "model_card.json").read_text())["results"]["validation_loss"]
    assert trained.validation_loss is not None
    assert trained.validation_loss < before


def test_what_was_measured_is_what_base_and_adapter_give(
    small: Small, base: Path, raw: Path, tmp_path: Path
) -> None:
    trained = _adapt(small, base, raw, tmp_path / "run")
    data = _encoded(raw, tmp_path / "encoded")
    tokens = torch.tensor([list(range(16))])
    theirs = merged(load_checkpoint(base), load_adapter(trained.model))(tokens).logits
    assert not torch.allclose(theirs, load_checkpoint(base)(tokens).logits, atol=1e-3)
    assert data.vocab_size == theirs.shape[-1]


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(
    small: Small, base: Path, raw: Path, tmp_path: Path
) -> None:
    whole = _adapt(small, base, raw, tmp_path / "whole")
    calls = iter(range(100))
    part = _adapt(small, base, raw, tmp_path / "parts", should_stop=lambda: next(calls) == 7)
    assert not part.finished
    checkpoint = next((tmp_path / "parts" / "checkpoints").glob("step-*/state.safetensors"))
    weights = {name for name in load_file(checkpoint) if name.startswith("model/")}
    assert len(weights) == 2 * 2 * 7
    rest = _adapt(small, base, raw, tmp_path / "parts")
    assert rest.finished
    for path in whole.model.iterdir():
        assert path.read_bytes() == (rest.model / path.name).read_bytes()


def test_a_rank_as_large_as_a_matrix_is_refused_by_its_field(
    small: Small, base: Path, raw: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"adapter\.rank = 32: is not below 32"):
        _adapt(small, base, raw, tmp_path / "run", adapter={"rank": 32})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": ADAPTER}, r"adapter\.rank = 4: has no base"),
        ({"adapter": {"alpha": 8}}, r"adapter\.alpha = 8.0: has no meaning without adapter\.rank"),
        ({"adapter": {"rank": 0}}, r"adapter\.rank = 0: is out of range"),
        ({"adapter": {"targets": "heads"}}, r"adapter\.targets = 'heads': is not a choice"),
        (
            {"adapter": ADAPTER, "task": "image", "model": {"initial": "models/drawn"}},
            r"adapter\.rank = 4: has no meaning but for task text",
        ),
    ],
)
def test_wrong_recipes_are_refused_by_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        recipe_from_dict({"name": "manner", **changes})


def test_a_recipe_of_a_whole_model_says_nothing_of_adapters(small: Small) -> None:
    assert not recipe_to_message(recipe_from_dict(small())).HasField("adapter")


def test_a_job_registers_the_adapter_with_its_base(small: Small, world: World) -> None:
    assert world.work(world.submit(small(), "base")).state == JobState.SUCCEEDED
    recipe = small(name="manner", adapter=ADAPTER, optimizer=OPTIMIZER) | {
        "model": {"initial": "models/small"}
    }
    done = world.work(world.submit(recipe, "adapter"))
    assert done.state == JobState.SUCCEEDED
    version = world.peers.names.model_version("models/manner")
    assert version.base == "models/small/versions/1"
    assert load_adapter(world.store.fetch(version.artifact)).base == "models/small/versions/1"
    further = small(name="further") | {"model": {"initial": "models/manner"}}
    with pytest.raises(InvalidInput, match="is an adapter, which nothing is continued from; name its base"):
        world.submit(further, "further")
