"""Documents of one file: the whole of a text, or the records of .jsonl and .parquet.

A record that cannot be used is passed on as its error, so that the others still count.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from vermeil_errors import InvalidInput, PermissionDenied, VermeilError
from vermeil_media import DecodedText, Invalid, check_text, decode_text, open_lines, read_bytes

from vermeil_ingest.sources import FoundFile

_SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Document:
    """One text and where it came from."""

    id: str
    """Path within the source; records have #number behind it, counted from 1."""
    text: str
    num_replaced: int


@dataclass(frozen=True)
class BadDocument:
    """Something that cannot be used."""

    id: str
    error: VermeilError


@dataclass(frozen=True)
class Reading:
    """How documents are read."""

    invalid: Invalid
    max_bytes: int
    """Limit on a document."""


def read_documents(file: FoundFile, reading: Reading) -> Iterator[Document | BadDocument]:
    """All documents of a file, in order."""
    try:
        if file.fetch is None and file.path.is_dir():
            raise PermissionDenied(
                "may not be listed by this process",
                field=str(file.path),
                metadata={"problem": "unreadable"},
            )
        yield from _reader(file)(file, reading)
    except VermeilError as error:
        yield BadDocument(file.id, error)


def _reader(file: FoundFile) -> Callable[[FoundFile, Reading], Iterator[Document | BadDocument]]:
    name = file.id.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return _json_lines
    if name.endswith(".parquet"):
        return _parquet
    return _whole


def _whole(file: FoundFile, reading: Reading) -> Iterator[Document | BadDocument]:
    raw = read_bytes(file.local, max_bytes=reading.max_bytes)
    decoded = decode_text(raw, invalid=reading.invalid, name=str(file.path))
    yield Document(file.id, decoded.text, decoded.num_replaced)


def _json_lines(file: FoundFile, reading: Reading) -> Iterator[Document | BadDocument]:
    for number, line in open_lines(file.local, max_bytes=reading.max_bytes):
        name = f"{file.id}#{number}"
        if not line.strip():
            continue
        try:
            decoded = decode_text(line, invalid=reading.invalid, name=f"{file.path}, line {number}")
            text = _text_of(_record(decoded.text, f"{file.path}, line {number}"), file, number, reading)
        except VermeilError as error:
            yield BadDocument(name, error)
        else:
            yield Document(name, text.text, text.num_replaced + decoded.num_replaced)


def _record(line: str, name: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"is not JSON: {error}", field=name, metadata={"problem": "malformed"}) from error


def _parquet(file: FoundFile, reading: Reading) -> Iterator[Document | BadDocument]:
    try:
        table = pq.ParquetFile(file.local)
        columns = [field for field in file.source.fields if field in table.schema_arrow.names]
        number = 0
        for batch in table.iter_batches(batch_size=1024, columns=columns or None):
            for record in batch.to_pylist():
                number += 1
                try:
                    text = _text_of(record, file, number, reading)
                except VermeilError as error:
                    yield BadDocument(f"{file.id}#{number}", error)
                else:
                    yield Document(f"{file.id}#{number}", text.text, text.num_replaced)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"is not a whole Parquet file: {error}", field=str(file.path), metadata={"problem": "malformed"}
        ) from error


def _text_of(record: object, file: FoundFile, number: int, reading: Reading) -> DecodedText:
    name = f"{file.path}, record {number}"
    if not isinstance(record, dict):
        raise InvalidInput("is not a JSON object", field=name, metadata={"problem": "malformed"})
    values = []
    for field in file.source.fields:
        value = record.get(field)
        if not isinstance(value, str):
            known = ", ".join(sorted(str(key) for key in record)) or "none"
            raise InvalidInput(
                f"has no text in field {field!r}; its fields are {known}",
                field=name,
                fix="name the fields to read",
                metadata={"problem": "malformed"},
            )
        values.append(value)
    return check_text(_SEPARATOR.join(values), invalid=reading.invalid, name=name)
