"""WebDataset: tar files in which members of one name belong together: 17.jpg, 17.txt, 17.cls, 17.json.

Archives are read as streams and nothing is unpacked to a disk; links and names that lead out are refused.
"""

import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

from vermeil_errors import VermeilError
from vermeil_media import decode_text

from vermeil_ingest.images.candidates import (
    BadCandidate,
    Candidate,
    Found,
    Plan,
    Unit,
    bad,
    captions_of,
    class_of,
)
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.shelf import PICTURES, Entry, Shelf

ENDINGS = (".tar", ".tar.gz", ".tgz")
_MAX_WORDS = 1 << 20
"""Bytes of a text, label or JSON beside a picture."""


def plan_webdataset(shelf: Shelf, rules: ImageRules) -> Plan:
    """One unit an archive."""
    archives = [entry for entry in shelf.entries if entry.name.endswith(ENDINGS)]
    return Plan(
        tuple(
            Unit(entry.id, 1, partial(_read, entry, shelf.source.fields, rules.limits.max_bytes))
            for entry in archives
        )
    )


def _read(entry: Entry, fields: tuple[str, ...], max_bytes: int) -> Iterator[Found]:
    try:
        with tarfile.open(entry.local(), "r|*") as archive:
            group: dict[str, bytes] = {}
            current = ""
            for member in archive:
                name = f"{entry.id}/{member.name}"
                if member.isdir():
                    continue
                if problem := _refusal(member, max_bytes):
                    yield bad(name, *problem)
                    continue
                key, _, ending = PurePosixPath(member.name).name.partition(".")
                key = str(PurePosixPath(member.name).parent / key)
                if key != current:
                    yield from _sample(entry.id, current, group, fields)
                    current, group = key, {}
                file = archive.extractfile(member)
                group[f".{ending.lower()}"] = file.read(max_bytes) if file else b""
            yield from _sample(entry.id, current, group, fields)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        yield bad(entry.id, f"is not a whole tar archive: {error}", "malformed")
    except VermeilError as error:
        yield BadCandidate(entry.id, error)


def _refusal(member: tarfile.TarInfo, max_bytes: int) -> tuple[str, str] | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        return "has a name that leads out of the archive", "escaping"
    if not member.isreg():
        kind = "a link" if member.issym() or member.islnk() else "no regular file"
        return f"is {kind}", "escaping"
    if member.size > max_bytes:
        return f"has {member.size:,} bytes, the limit is {max_bytes:,}", "too_large"
    return None


def _sample(archive: str, key: str, group: Mapping[str, bytes], fields: tuple[str, ...]) -> Iterator[Found]:
    pictures = [ending for ending in group if ending.endswith(PICTURES)]
    if not pictures:
        return
    name = f"{archive}/{key}{pictures[0]}"
    try:
        record = _record(group.get(".json", b"{}"), name)
        captions = captions_of(record, fields)
        if ".txt" in group:
            captions = (
                decode_text(group[".txt"][:_MAX_WORDS], invalid="replace", name=name).text.strip(),
                *captions,
            )
        class_name, number = class_of(record)
        if ".cls" in group:
            label = decode_text(group[".cls"][:_MAX_WORDS], invalid="replace", name=name).text.strip()
            class_name, number = label, int(label) if label.isdecimal() else None
        yield Candidate(name, group[pictures[0]], captions, class_name or None, number)
    except VermeilError as error:
        yield BadCandidate(name, error)


def _record(raw: bytes, name: str) -> Mapping[str, object]:
    try:
        values = json.loads(raw[:_MAX_WORDS])
    except (ValueError, RecursionError) as error:
        raise bad(name, f"its .json is not JSON: {error}", "malformed").error from error
    return values if isinstance(values, dict) else {}
