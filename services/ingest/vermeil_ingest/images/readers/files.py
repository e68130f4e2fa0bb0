"""Pictures as files: a folder of them, folders named after classes, ImageFolder with metadata.jsonl.

A text file beside a picture, with the same name, holds its captions, one a line.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from vermeil_errors import VermeilError
from vermeil_media import MAX_FILE_BYTES, decode_text

from vermeil_ingest.images.candidates import (
    BadCandidate,
    Candidate,
    Found,
    Plan,
    bad,
    captions_of,
    class_of,
    grouped,
)
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.images.splits import split_of
from vermeil_ingest.shelf import Entry, Shelf

METADATA = "metadata.jsonl"


def plan_files(shelf: Shelf, rules: ImageRules) -> Plan:
    """Every picture of the shelf; of class folders each folder is a class, also an empty one."""
    pictures = [entry for entry in shelf.entries if entry.is_picture]
    texts = {entry.id.removesuffix(".txt"): entry for entry in shelf.entries if entry.id.endswith(".txt")}
    splits = split_of([entry.id for entry in pictures])
    classes = _classes([splits.rest(entry.id) for entry in pictures], shelf, splits.names)
    numbers = {name: number for number, name in enumerate(classes)}

    def read(group: Sequence[Entry]) -> Iterator[Found]:
        for entry in group:
            name = splits.rest(entry.id).split("/")[0] if numbers else None
            sidecar = texts.get(entry.id.rpartition(".")[0])
            try:
                yield Candidate(
                    entry.id,
                    entry.read(rules.limits.max_bytes),
                    _lines(sidecar) if sidecar else (),
                    name,
                    numbers[name] if name else None,
                    splits.of(entry.id),
                )
            except VermeilError as error:
                yield BadCandidate(entry.id, error)

    return Plan(grouped(pictures, read), classes, splits.has_validation)


def plan_metadata(shelf: Shelf, rules: ImageRules) -> Plan:
    """The pictures that metadata.jsonl files name, with what they say of them."""
    by_id = {entry.id: entry for entry in shelf.entries}
    records = []
    for entry in shelf.entries:
        if entry.name == METADATA:
            records += list(_records(entry))
    splits = split_of([record.id for record in records if isinstance(record, _Record)])

    def read(group: Sequence[_Record | BadCandidate]) -> Iterator[Found]:
        for record in group:
            if isinstance(record, BadCandidate):
                yield record
            elif record.id not in by_id:
                yield bad(record.id, "is named by metadata.jsonl, but is not there", "missing")
            else:
                try:
                    yield Candidate(
                        record.id,
                        by_id[record.id].read(rules.limits.max_bytes),
                        captions_of(record.values, shelf.source.fields),
                        *class_of(record.values),
                        split=splits.of(record.id),
                    )
                except VermeilError as error:
                    yield BadCandidate(record.id, error)

    return Plan(grouped(records, read), (), splits.has_validation)


class _Record:
    def __init__(self, identity: str, values: Mapping[str, object]) -> None:
        self.id = identity
        self.values = values


def _records(entry: Entry) -> Iterator[_Record | BadCandidate]:
    folder = PurePosixPath(entry.id).parent
    text = decode_text(entry.read(MAX_FILE_BYTES), invalid="replace", name=entry.id).text
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name = f"{entry.id}#{number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield bad(name, f"is not JSON: {error}", "malformed")
            continue
        file_name = values.get("file_name") if isinstance(values, dict) else None
        if not isinstance(file_name, str) or not file_name:
            yield bad(name, "names no picture", "malformed", 'write {"file_name": …, "text": …}')
            continue
        path = PurePosixPath(file_name)
        if path.is_absolute() or ".." in path.parts:
            yield bad(name, f"{file_name!r} leads out of the folder", "escaping")
            continue
        yield _Record((folder / path).as_posix(), values)


def _classes(paths: Sequence[str], shelf: Shelf, split_names: Sequence[str]) -> tuple[str, ...]:
    """Names of class folders, if every picture lies in one and there are two or more."""
    if not paths or any(path.count("/") < 1 for path in paths):
        return ()
    found = {path.split("/")[0] for path in paths}
    empty = {
        folder.split("/")[-1]
        for folder in shelf.folders
        if (folder.split("/")[0] in split_names) == ("/" in folder) and folder not in split_names
    }
    names = found | empty
    return tuple(sorted(names, key=_natural)) if len(names) > 1 else ()


def _natural(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (1 << 62, name)


def _lines(entry: Entry) -> tuple[str, ...]:
    text = decode_text(entry.read(1 << 20), invalid="replace", name=entry.id).text
    return tuple(line.strip() for line in text.split("\n") if line.strip())
