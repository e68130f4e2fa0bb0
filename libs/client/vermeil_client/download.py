"""Bring a version of a model or of a dataset here, every file checked by its hash."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from vermeil_errors import DataCorrupted, InvalidInput

from vermeil_client.names import resource_name
from vermeil_client.resources import Dataset
from vermeil_client.transport import Json, Transport

_BLOCK = 1 << 20
_VERSION = re.compile(r"(datasets|models)/([a-z0-9-]+)/versions/([0-9]+)")

Progress = Callable[[int, int], None]
"""Is told how many bytes are here, and how many there are in all."""


def unheard(done: int, total: int) -> None:
    """Nobody asks how far it is."""


def download(transport: Transport, name: str, folder: Path, progress: Progress) -> str:
    """Fetch the files of a version into a folder, and return its full name.

    Args:
        transport: To the gateway.
        name: Of a model, `nano` or `nano@3`, or of a dataset, `datasets/peps`, or of a version in full.
        folder: Where to; made if it is not there.
        progress: Is told after each block.

    Raises:
        InvalidInput: Another file stands where one belongs; nothing was written.
        DataCorrupted: What came is not what the hash says; it is not kept.
    """
    version = _version(transport, name)
    route = _route(version, name)
    wanted = [(entry, _place(folder, entry["path"])) for entry in transport.get(route)["files"]]
    total = sum(entry["num_bytes"] for entry, _ in wanted)
    missing = [(entry, place) for entry, place in wanted if not _is_here(entry, place)]
    done = total - sum(entry["num_bytes"] for entry, _ in missing)
    progress(done, total)
    for entry, place in missing:
        place.parent.mkdir(parents=True, exist_ok=True)
        blocks = transport.blocks(f"{route}/{quote(entry['path'])}", _BLOCK)
        for num_bytes in _write(entry, place, blocks):
            done += num_bytes
            progress(done, total)
    return version


def _version(transport: Transport, name: str) -> str:
    """The full name of a version, the newest where none is named."""
    full = name if name.startswith("datasets/") else resource_name(name)
    if "/versions/" in full:
        return full
    if full.startswith("datasets/"):
        return Dataset.from_json(transport.get(f"/v1/{full}")).latest_version
    return str(transport.get(f"/v1/models/{full.removeprefix('models/')}")["name"])


def _route(version: str, asked: str) -> str:
    found = _VERSION.fullmatch(version)
    if found is None:
        raise InvalidInput.for_field(
            "name", asked, "names no version of a model or a dataset", "write nano, nano@3 or datasets/peps"
        )
    collection, name, number = found.groups()
    route = f"datasets/{name}/versions" if collection == "datasets" else f"model-versions/{name}"
    return f"/v1/{route}/{number}/files"


def _place(folder: Path, path: str) -> Path:
    """Where a file belongs; no name that a server sends leads out of the folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise DataCorrupted("the gateway names a file outside of the folder", field="path", value=path)
    return folder.joinpath(*parts)


def _is_here(entry: Mapping[str, Any], place: Path) -> bool:
    if not place.exists():
        return False
    if place.is_file():
        with place.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"]:
                return True
    raise InvalidInput.for_field(
        "folder", str(place), "is there, and something else", "choose another folder, or move it away"
    )


def _write(entry: Json, place: Path, blocks: Iterator[bytes]) -> Iterator[int]:
    """Write a file under another name until it is whole and right; yield how many bytes came."""
    partial = place.with_name(f".{place.name}.partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
                yield len(block)
        if digest.hexdigest() != entry["sha256"]:
            raise DataCorrupted(
                "what came is not what its hash says", field="path", value=entry["path"], fix="try again"
            )
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
