"""A model's folder opened as what its config.json says it is."""

from hashlib import file_digest
from importlib import import_module
from pathlib import Path

from vermeil_artifacts import FileEntry, Manifest
from vermeil_errors import InvalidInput
from vermeil_model.tensor_files import read_json

from vermeil_evaluator.models.model import Model

_KINDS = {
    "vermeil": "text:TextFolder",
    "vermeil-image": "image:ImageFolder",
    "vermeil-fused": "fused:FusedFolder",
    "vermeil-classifier": "judge:ClassifierFolder",
    "vermeil-dual": "dual:DualFolder",
    "inception-fid": "inception:InceptionFolder",
}
"""By model_type of config.json: module and class here, imported when needed."""


def open_model(folder: Path, digest: str = "") -> Model:
    """The model in a folder; nothing big is read yet. Its digest is that of its files unless given."""
    kind = str(read_json(folder / "config.json").get("model_type"))
    if kind not in _KINDS:
        raise InvalidInput.for_field(
            "model_type", kind, "is a model of another architecture", f"use one of {', '.join(_KINDS)}"
        )
    module, _, name = _KINDS[kind].partition(":")
    adapter = getattr(import_module(f"vermeil_evaluator.models.{module}"), name)
    model: Model = adapter(folder, digest or folder_digest(folder))
    return model


def folder_digest(folder: Path) -> str:
    """The digest a folder would have as an artifact of kind "model"."""
    entries = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        entries.append(FileEntry(path.relative_to(folder).as_posix(), digest, path.stat().st_size))
    return Manifest("model", tuple(entries)).digest
