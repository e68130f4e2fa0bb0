"""IDX pairs, as MNIST has them: a file of pictures, a file of labels, and maybe classes.txt beside them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy.typing as npt
from vermeil_errors import InvalidInput, NotFound
from vermeil_media import MAX_FILE_BYTES, decode_text, encode_png, read_idx

from vermeil_ingest.images.candidates import Candidate, Found, Plan, Unit
from vermeil_ingest.images.splits import named_split, resolved
from vermeil_ingest.shelf import Entry, Shelf, file_entry

_IMAGES = re.compile(r"images?[-._]idx[34]([-._]ubyte)?(\.gz)?$")
_A_UNIT = 2048


@dataclass(frozen=True)
class _Pair:
    id: str
    pictures: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    split: str


def is_idx(name: str) -> bool:
    """Whether a file name is that of IDX pictures."""
    return _IMAGES.search(name.lower()) is not None


def plan_idx(shelf: Shelf) -> Plan:
    """Every pair of the shelf; labels must be as many as pictures, and every class must have one."""
    pairs = [_pair(entry, shelf) for entry in shelf.entries if is_idx(entry.name)]
    names = _class_names(shelf)
    divided = len({pair.split for pair in pairs}) > 1
    has_validation = divided and any(pair.split == "validation" for pair in pairs)
    units = []
    for pair in pairs:
        if names and len(pair.labels) and int(pair.labels.max()) >= len(names):
            raise InvalidInput(
                f"has label {int(pair.labels.max())}, but classes.txt names {len(names)} classes",
                field=pair.id,
            )
        split = resolved(pair.split, has_validation=has_validation) if divided else ""
        for start in range(0, len(pair.pictures), _A_UNIT):
            size = min(_A_UNIT, len(pair.pictures) - start)
            units.append(
                Unit(f"{pair.id}#{start + 1}", size, partial(_read, pair, start, size, names, split))
            )
    classes = names or tuple(
        str(label) for label in sorted({int(each) for pair in pairs for each in pair.labels})
    )
    return Plan(tuple(units), classes, has_validation)


def _read(pair: _Pair, start: int, size: int, names: tuple[str, ...], split: str) -> Iterator[Found]:
    for index in range(start, start + size):
        label = int(pair.labels[index])
        picture = pair.pictures[index]
        yield Candidate(
            f"{pair.id}#{index + 1}",
            encode_png(picture[:, :, None] if picture.ndim == 2 else picture),
            class_name=names[label] if names else str(label),
            class_number=label,
            split=split,
            is_ours=True,
        )


def _pair(entry: Entry, shelf: Shelf) -> _Pair:
    pictures = read_idx(entry.local().read_bytes(), name=entry.id)
    if pictures.dtype != "uint8" or pictures.ndim not in (3, 4) or 0 in pictures.shape[1:]:
        raise InvalidInput(
            f"is no IDX file of pictures: it has {pictures.dtype} {pictures.shape}", field=entry.id
        )
    wanted = re.sub(r"idx[34]", "idx1", entry.id.replace("images", "labels").replace("image", "label"))
    places = {each.id.removesuffix(".gz"): each for each in shelf.entries}
    labels_entry = places.get(wanted.removesuffix(".gz")) or _beside(entry, wanted)
    labels = read_idx(labels_entry.local().read_bytes(), name=labels_entry.id)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or (len(labels) and labels.min() < 0):
        raise InvalidInput(
            f"is no IDX file of labels: it has {labels.dtype} {labels.shape}", field=labels_entry.id
        )
    if len(labels) != len(pictures):
        raise InvalidInput(
            f"has {len(labels):,} labels for the {len(pictures):,} pictures of {entry.id}",
            field=labels_entry.id,
            fix="fetch both files again: they do not belong together, or one is cut off",
        )
    words = re.split(r"[-._/]", entry.id.lower())
    return _Pair(entry.id, pictures, labels, named_split(words))


def _beside(entry: Entry, wanted: str) -> Entry:
    """The labels of a file that was named by itself, in the folder in which it lies."""
    folder = entry.local().parent
    for name in (wanted, f"{wanted}.gz", wanted.removesuffix(".gz")):
        path = folder / PurePosixPath(name).name
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return file_entry(path.name, path)
    raise NotFound(f"has no labels: {PurePosixPath(wanted).name} is not beside it", field=entry.id)


def _class_names(shelf: Shelf) -> tuple[str, ...]:
    for entry in shelf.entries:
        if entry.name == "classes.txt":
            text = decode_text(entry.read(MAX_FILE_BYTES), name=entry.id).text
            names = tuple(line.strip() for line in text.split("\n") if line.strip())
            if len(set(names)) < len(names):
                raise InvalidInput("names a class twice", field=entry.id)
            return names
    return ()
