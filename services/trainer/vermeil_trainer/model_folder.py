"""A model as others take it: config, weights, tokenizer and a card that says where it comes from.

config.json also has what asking the model takes: ids of special tokens, names of classes, how to sample,
how samples of each task were spelled.
An adapter is a folder in PEFT's layout, without what its base has: weights, sizes, tokenizer.
Nothing here depends on when, where or how fast it was trained: equal runs give equal bytes.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from vermeil_data import EncodedDataset, EncodedImages, OpenMixture, TextTokenizer
from vermeil_data.card import DatasetCard
from vermeil_model import (
    AdaptedModel,
    DualEncoder,
    FusedModel,
    ImageClassifier,
    ImageModel,
    TextModel,
    save_adapter,
    save_checkpoint,
)
from vermeil_settings import VERSION

from vermeil_trainer.fusing import styles_of
from vermeil_trainer.reading import recipe_to_message
from vermeil_trainer.recipe import Recipe

CARD_FILE, CONFIG_FILE = "model_card.json", "config.json"
FORMAT_VERSION = 1
CLASS_NAMES = "class_names"
"""Key of config.json: names by class id."""

Data = EncodedDataset | EncodedImages | OpenMixture
AnyModel = TextModel | AdaptedModel | ImageModel | DualEncoder | ImageClassifier | FusedModel


def write_model(
    folder: Path, model: AnyModel, recipe: Recipe, data: Data, results: Mapping[str, float | None]
) -> None:
    """Fill `folder` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = data.tokenizer
    if isinstance(model, AdaptedModel):
        save_adapter(folder, model.cpu().adapter(recipe.base))
    else:
        save_checkpoint(folder, model.cpu(), extra=_token_roles(tokenizer) | _picture_values(recipe, data))
        if tokenizer is not None:
            tokenizer.save(folder)
    card = {
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "description": recipe.description,
        "recipe": recipe_as_dict(recipe),
        "seed": recipe.run.seed,
        "code_version": VERSION,
        "data": _data_card(data),
        "parameters": num_parameters(model),
        "results": results,
    }
    if tokenizer is not None:
        card["tokenizer"] = {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size}
    text = json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def class_names_in(folder: Path) -> tuple[str, ...]:
    """Names by class id, as the model in a folder knows them."""
    values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return tuple(values.get(CLASS_NAMES, ()))


def num_parameters(model: AnyModel) -> int:
    """Weights, a shared one counted once; of an adapter its own."""
    if isinstance(model, AdaptedModel):
        return model.adapter().num_parameters
    return sum(weight.numel() for weight in model.parameters())


def recipe_as_dict(recipe: Recipe) -> dict[str, Any]:
    """A recipe as people write it, every default spelled out."""
    values: dict[str, Any] = json_format.MessageToDict(
        recipe_to_message(recipe), preserving_proto_field_name=True
    )
    # JSON of protobuf writes 64-bit numbers as text.
    values["run"]["seed"] = recipe.run.seed
    return values


def _token_roles(tokenizer: TextTokenizer | None) -> dict[str, Any]:
    if tokenizer is None:
        return {}
    roles = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id}
    return {f"{role}_token_id": id_ for role, id_ in roles.items()}


def _picture_values(recipe: Recipe, data: Data) -> dict[str, Any]:
    if isinstance(data, EncodedDataset):
        return {}
    values: dict[str, Any] = {"image_fit": data.images.fit}
    if isinstance(data, EncodedImages):
        values[CLASS_NAMES] = list(data.class_names)
    if isinstance(data, OpenMixture):
        values["styles"] = styles_of(data)
    if recipe.task in ("image", "fusion"):
        unasked = recipe.task == "image" and recipe.image.condition == "none"
        guidance = 1.0 if unasked else recipe.image.guidance
        values["sampling"] = {"steps": recipe.image.sampling_steps, "guidance": guidance}
    return values


def _data_card(data: Data) -> dict[str, Any]:
    if isinstance(data, OpenMixture):
        sources = {name: _origin(source.card) for name, source in data.sources.items()}
        for name, source in data.sources.items():
            splits = source.card.splits.items()
            sources[name]["num_samples"] = {split: about.num_samples for split, about in splits}
        return {"sources": sources}
    splits = data.card.splits.items()
    if isinstance(data, EncodedImages):
        return _origin(data.card) | {
            "num_images": {name: split.num_samples for name, split in splits},
            "classes": list(data.class_names),
        }
    return _origin(data.card) | {"num_tokens": {name: split.num_tokens for name, split in splits}}


def _origin(card: DatasetCard) -> dict[str, Any]:
    return {"name": card.name, "source": card.source, "licence": card.licence}
