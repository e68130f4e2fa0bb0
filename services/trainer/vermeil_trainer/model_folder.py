"""A model as others take it: config, weights, tokenizer and a card that says where it comes from.

Nothing here depends on when, where or how fast it was trained: equal runs give equal bytes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from vermeil_data import EncodedDataset
from vermeil_model import TextModel, count_parameters, save_checkpoint

from vermeil_trainer.code_version import VERSION
from vermeil_trainer.reading import recipe_to_message
from vermeil_trainer.recipe import Recipe

CARD_FILE = "model_card.json"
FORMAT_VERSION = 1


def write_model(
    folder: Path, model: TextModel, recipe: Recipe, encoded: EncodedDataset, results: dict[str, Any]
) -> None:
    """Fill `folder` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = encoded.tokenizer
    roles = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id}
    save_checkpoint(folder, model.cpu(), extra={f"{role}_token_id": id_ for role, id_ in roles.items()})
    tokenizer.save(folder)
    card = {
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "description": recipe.description,
        "recipe": recipe_as_dict(recipe),
        "seed": recipe.run.seed,
        "code_version": VERSION,
        "data": {
            "name": encoded.card.name,
            "source": encoded.card.source,
            "licence": encoded.card.licence,
            "num_tokens": {name: split.num_tokens for name, split in encoded.card.splits.items()},
        },
        "tokenizer": {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size},
        "parameters": count_parameters(model.config).total,
        "results": results,
    }
    text = json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def recipe_as_dict(recipe: Recipe) -> dict[str, Any]:
    """A recipe as people write it, every default spelled out."""
    values: dict[str, Any] = json_format.MessageToDict(
        recipe_to_message(recipe), preserving_proto_field_name=True
    )
    # JSON of protobuf writes 64-bit numbers as text.
    values["run"]["seed"] = recipe.run.seed
    return values
