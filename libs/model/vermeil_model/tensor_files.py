"""Named tensors in safetensors files: one file, or shards with an index beside them.

Nothing is ever unpickled: a pickle is refused by its content, whatever its name. Writing is atomic,
reading maps the file into memory.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from vermeil_errors import DataCorrupted, InvalidInput, NotFound, OutOfSpace, Violation, from_exception

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_MOST_VIOLATIONS = 8


class TensorFiles:
    """The tensors of a folder, by name; opened once, read when asked for.

    They are in the file of that name or, where there is none, in shards with an index beside them.
    """

    def __init__(self, folder: Path, file: str = WEIGHTS_FILE) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        index = folder / INDEX_FILE
        if (folder / file).is_file() or not index.is_file():
            self._file_of = dict.fromkeys(self._open(file).keys(), file)
        else:
            self._file_of = _read_index(index)

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(self._file_of)

    def read(self, name: str) -> Tensor:
        """One tensor, in the dtype it was stored in."""
        file = self._file_of[name]
        try:
            tensor: Tensor = self._open(file).get_tensor(name)
        except SafetensorError as error:
            raise DataCorrupted(f"{self.folder / file} has no sound tensor {name}: {error}") from error
        return tensor

    def _open(self, file: str) -> Any:
        if file not in self._files:
            path = self.folder / file
            if not path.is_file():
                raise _missing(path)
            _refuse_pickle(path)
            try:
                self._files[file] = safe_open(path, framework="pt")
            except SafetensorError as error:
                raise DataCorrupted(
                    f"{path} is truncated or damaged: {error}", fix="Fetch or write the file again."
                ) from error
        return self._files[file]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    if not path.is_file():
        raise NotFound(f"there is no {path.name} in {path.parent}", fix="Point to a model folder.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataCorrupted(f"{path} is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataCorrupted(f"{path} holds no JSON object")
    return values


def check_tensors(found: Mapping[str, torch.Size], expected: Mapping[str, torch.Size], source: Path) -> None:
    """Refuse tensors that are missing, unknown or of another shape, by name."""
    violations = [Violation(name, "is missing") for name in sorted(expected.keys() - found.keys())]
    violations += [Violation(name, "is unknown") for name in sorted(found.keys() - expected.keys())]
    violations += [
        Violation(name, f"has shape {tuple(found[name])}, expected {tuple(expected[name])}")
        for name in sorted(found.keys() & expected.keys())
        if found[name] != expected[name]
    ]
    if violations:
        shown = "; ".join(f"{v.field} {v.description}" for v in violations[:_MOST_VIOLATIONS])
        if len(violations) > _MOST_VIOLATIONS:
            shown += f"; and {len(violations) - _MOST_VIOLATIONS} more"
        raise InvalidInput(
            f"the tensors in {source} do not fit the config: {shown}",
            fix="Use the config.json that belongs to these weights.",
            violations=violations,
        )


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """All tensors into one file that is there whole or not at all."""
    with _replacing(path) as temporary:
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        try:
            save_file(contiguous, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            if any(f"os error {code})" in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
                raise OutOfSpace(f"no space left for {path}", fix="Free some space, then retry.") from error
            raise


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A JSON object into a file that is there whole or not at all."""
    with _replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` once written and flushed, or is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise from_exception(error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _read_index(path: Path) -> dict[str, str]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise DataCorrupted(f"{path} has no table weight_map from tensor names to files")
    for file in set(weight_map.values()):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise InvalidInput.for_field(
                "weight_map", file, "is no plain safetensors file name", "Fix the index."
            )
    return weight_map


def _missing(path: Path) -> NotFound | InvalidInput:
    pickles = [p.name for p in path.parent.glob("*") if p.suffix in _PICKLE_SUFFIXES]
    if pickles:
        return _pickle_refused(path.parent / pickles[0])
    return NotFound(
        f"there is no {path.name} in {path.parent}", fix="Point to a folder with safetensors weights."
    )


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(4).startswith(_PICKLE_MAGIC):
            raise _pickle_refused(path)


def _pickle_refused(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path} is a pickle, which could run code when loaded",
        fix="Convert it to safetensors where you trust it; Vermeil never unpickles.",
    )
