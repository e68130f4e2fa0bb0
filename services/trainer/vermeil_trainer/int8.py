"""A model's folder in int8: the one task that learns nothing, and needs no data."""

import json
from pathlib import Path

from vermeil_errors import InvalidInput
from vermeil_model import save_int8
from vermeil_model.int8 import QUANTIZATION
from vermeil_model.tensor_files import read_json
from vermeil_settings import VERSION

from vermeil_trainer.model_folder import CARD_FILE, CONFIG_FILE, recipe_as_dict
from vermeil_trainer.recipe import Recipe

_WEIGHTS = "*.safetensors"


def write_int8(recipe: Recipe, initial: Path, folder: Path) -> dict[str, int]:
    """Fill `folder` with the model in `initial` in int8; sizes of both on disk."""
    if QUANTIZATION in read_json(initial / CONFIG_FILE):
        raise InvalidInput.for_field(
            "model.initial", recipe.model.initial, "is in int8 already", "name the model that it was made of"
        )
    save_int8(folder, initial)
    known = read_json(initial / CARD_FILE) if (initial / CARD_FILE).is_file() else {}
    own = {"name": recipe.name, "description": recipe.description, "code_version": VERSION}
    card = {**known, **own, "recipe": recipe_as_dict(recipe)}
    # What was measured of the other says nothing certain of this one.
    card.pop("results", None)
    text = json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
    return {"weight_bytes": _bytes(folder), "initial_weight_bytes": _bytes(initial)}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(_WEIGHTS))
