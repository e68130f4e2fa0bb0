"""Parquet tables with pictures: a column of bytes, or of {bytes, path} as Hugging Face writes them."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from vermeil_errors import InvalidInput, VermeilError

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
from vermeil_ingest.images.splits import named_split, resolved
from vermeil_ingest.shelf import Entry, Shelf

_ROWS = 64


def image_column(path: Path) -> str | None:
    """The first column that holds pictures, by its type and, for plain bytes, by its name."""
    try:
        schema = pq.ParquetFile(path).schema_arrow
    except (pa.ArrowException, OSError):
        return None
    for field in schema:
        if pa.types.is_struct(field.type) and any(part.name == "bytes" for part in field.type):
            return str(field.name)
    for field in schema:
        is_bytes = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        if is_bytes and field.name.lower() in ("image", "img", "picture", "png", "jpg", "jpeg", "bytes"):
            return str(field.name)
    return None


def plan_parquet(shelf: Shelf) -> Plan:
    """One unit a file; train-…, test-… in its name is its split."""
    tables = [entry for entry in shelf.entries if entry.name.endswith(".parquet")]
    named = [named_split(entry.name.replace(".", "-").split("-")) for entry in tables]
    divided = len(set(named)) > 1 and all(named)
    has_validation = divided and "validation" in named
    units = []
    for entry, split in zip(tables, named, strict=True):
        where = resolved(split, has_validation=has_validation) if divided else ""
        units.append(Unit(entry.id, _num_rows(entry), partial(_read, entry, shelf.source.fields, where)))
    return Plan(tuple(units), (), has_validation)


def _num_rows(entry: Entry) -> int:
    try:
        return int(pq.ParquetFile(entry.local()).metadata.num_rows)
    except (pa.ArrowException, OSError, VermeilError):
        return 1


def _read(entry: Entry, fields: tuple[str, ...], split: str) -> Iterator[Found]:
    try:
        path = entry.local()
        column = image_column(path)
        if column is None:
            raise InvalidInput("has no column of pictures", field=entry.id, metadata={"problem": "malformed"})
        table = pq.ParquetFile(path)
        names = _label_names(table.schema_arrow)
        number = 0
        for batch in table.iter_batches(batch_size=_ROWS):
            for record in batch.to_pylist():
                number += 1
                name = f"{entry.id}#{number}"
                data = _bytes(record[column])
                if data is None:
                    yield bad(name, "has no bytes of a picture", "missing")
                    continue
                yield Candidate(
                    name, data, captions_of(record, fields), *class_of(record, names), split=split
                )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield bad(entry.id, f"is not a whole Parquet file: {error}", "malformed")
    except VermeilError as error:
        yield BadCandidate(entry.id, error)


def _bytes(value: Any) -> bytes | None:
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else None


def _label_names(schema: pa.Schema) -> Sequence[str]:
    """Names of the numbers in column "label", where Hugging Face's own metadata give them."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = about["info"]["features"]["label"]["names"]
    except (ValueError, KeyError, TypeError):
        return ()
    return [str(name) for name in names] if isinstance(names, list) else ()
