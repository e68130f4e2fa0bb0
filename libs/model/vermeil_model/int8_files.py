"""Model folders in int8: what another folder holds, in a quarter of the room."""

from __future__ import annotations

import shutil
from pathlib import Path

from vermeil_model.checkpoint import CONFIG_FILE, load_checkpoint, save_checkpoint, written_fields
from vermeil_model.int8 import int8_model, require_floats
from vermeil_model.tensor_files import read_json


def save_int8(folder: Path, base: Path) -> None:
    """Write what `base` holds, a text model, with its layers in int8: tokenizer and all else as they are."""
    model = load_checkpoint(base)
    require_floats(model, "base", str(base))
    int8_model(model)
    values = read_json(base / CONFIG_FILE)
    extra = {name: value for name, value in values.items() if name not in written_fields(model)}
    save_checkpoint(folder, model, extra=extra)
    for path in base.iterdir():
        if path.is_file() and path.name != CONFIG_FILE and ".safetensors" not in path.name:
            shutil.copyfile(path, folder / path.name)
