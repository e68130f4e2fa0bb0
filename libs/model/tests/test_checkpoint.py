import errno
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from vermeil_errors import DataCorrupted, InvalidInput, NotFound, OutOfSpace
from vermeil_model import (
    ImageModel,
    TextModel,
    load_any_checkpoint,
    load_checkpoint,
    read_any_config,
    read_config,
    save_checkpoint,
)
from vermeil_model.testing import (
    BY_CLASS,
    BY_TEXT,
    small_conditions,
    small_image_model,
    small_images,
    small_model,
    small_tokens,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, small_model(), extra={"bos_token_id": 1})
    return tmp_path


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": False, "qk_norm": False}])
@torch.no_grad()
def test_a_saved_model_gives_the_same_logits_when_loaded(
    tmp_path: Path, dtype: torch.dtype, changes: dict[str, object]
) -> None:
    model = small_model(**changes).to(dtype)
    save_checkpoint(tmp_path / "new" / "model", model)
    loaded = load_checkpoint(tmp_path / "new" / "model")
    assert loaded.config == model.config
    assert loaded.embedding.weight.dtype == dtype
    assert torch.equal(loaded(small_tokens(2, 9)).logits, model(small_tokens(2, 9)).logits)


def test_a_model_can_be_loaded_in_another_dtype_and_trained_on(folder: Path) -> None:
    loaded = load_checkpoint(folder, dtype=torch.float64)
    tokens = small_tokens(2, 9)
    loss = loaded(tokens, targets_BT=tokens).loss
    assert loss is not None
    loss.backward()
    with torch.no_grad():
        loaded.embedding.weight.add_(1)
    assert load_checkpoint(folder).embedding.weight.dtype == torch.float32


def test_the_folder_holds_two_files_that_say_what_they_are(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "vermeil"
    assert config["bos_token_id"] == 1
    assert "text.layers.1.attention.qkv.weight" in load_file(folder / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, BY_CLASS, BY_TEXT | {"adaln": True, "pool_condition": False}])
@torch.no_grad()
def test_a_saved_image_model_gives_the_same_pictures_when_loaded(
    tmp_path: Path, dtype: torch.dtype, changes: dict[str, object]
) -> None:
    model = small_image_model(**changes).to(dtype)
    save_checkpoint(tmp_path, model, extra={"class_names": ["a", "b"]})
    loaded = load_checkpoint(tmp_path, ImageModel)
    assert read_config(tmp_path, ImageModel) == read_any_config(tmp_path) == loaded.config == model.config
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "vermeil-image"
    arguments = (small_images(2), torch.tensor([0.2, 0.8]), small_conditions(2, model.config))
    assert torch.equal(loaded(*arguments), model(*arguments))
    assert isinstance(load_any_checkpoint(tmp_path), ImageModel)


def test_a_checkpoint_of_another_network_than_expected_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="another architecture than 'vermeil-image'") as caught:
        load_checkpoint(folder, ImageModel)
    assert caught.value.field == "model_type"
    save_checkpoint(tmp_path / "image", small_image_model())
    with pytest.raises(InvalidInput, match="Give a folder that holds text weights"):
        load_checkpoint(tmp_path / "image")
    assert isinstance(load_any_checkpoint(folder), TextModel)


def test_another_architecture_is_refused(folder: Path) -> None:
    edit_config(folder, model_type="llama")
    with pytest.raises(InvalidInput, match=r"another architecture.*import_llama"):
        load_checkpoint(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    edit_config(folder, format_version=99)
    with pytest.raises(InvalidInput, match="Update Vermeil"):
        load_checkpoint(folder)


def test_tensors_that_do_not_fit_the_config_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["text.stranger"] = torch.zeros(1)
    tensors["text.norm.weight"] = torch.zeros(3)
    del tensors["text.layers.0.attention.qkv.weight"]
    save_file(tensors, path)
    with pytest.raises(InvalidInput) as caught:
        load_checkpoint(folder)
    said = {violation.field: violation.description for violation in caught.value.violations}
    assert said == {
        "text.layers.0.attention.qkv.weight": "is missing",
        "text.stranger": "is unknown",
        "text.norm.weight": "has shape (3,), expected (24,)",
    }


def test_a_pickle_is_refused_whatever_its_name(folder: Path) -> None:
    weights = folder / "model.safetensors"
    for content in (pickle.dumps({"a": 1}), b"PK\x03\x04 what torch.save writes"):
        weights.write_bytes(content)
        with pytest.raises(InvalidInput, match="is a pickle"):
            load_checkpoint(folder)
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(InvalidInput, match=r"pytorch_model.bin is a pickle"):
        load_checkpoint(folder)


@pytest.mark.parametrize("num_bytes", [0, 5, 200, -7])
def test_a_truncated_file_is_corrupted_data(folder: Path, num_bytes: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:num_bytes])
    with pytest.raises(DataCorrupted, match=r"model\.safetensors"):
        load_checkpoint(folder)


def test_missing_and_broken_configs_are_told_apart(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(DataCorrupted, match="no JSON"):
        load_checkpoint(folder)
    (folder / "config.json").unlink()
    with pytest.raises(NotFound, match=r"config.json"):
        load_checkpoint(folder)


def test_weights_may_lie_in_shards_beside_an_index(folder: Path) -> None:
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    expected = load_checkpoint(folder).state_dict()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, members in shards.items():
        save_file({name: tensors[name] for name in members}, folder / file)
    whole.unlink()
    weight_map = {name: file for file, members in shards.items() for name in members}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    for name, tensor in load_checkpoint(folder).state_dict().items():
        assert torch.equal(tensor, expected[name])
    index.write_text(json.dumps({"weight_map": weight_map | {names[0]: "../a.safetensors"}}))
    with pytest.raises(InvalidInput, match="plain safetensors file name"):
        load_checkpoint(folder)


def test_a_failed_save_leaves_the_old_model_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "model.safetensors").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutOfSpace):
        save_checkpoint(folder, small_model(vocab_size=99))
    assert (folder / "model.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def test_extra_entries_never_overwrite_those_of_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="model_type"):
        save_checkpoint(tmp_path, small_model(), extra={"model_type": "llama"})
