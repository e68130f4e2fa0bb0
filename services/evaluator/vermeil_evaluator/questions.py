"""Items out of JSON lines: one object a line, its fields checked before anything is asked.

The lines are a file of the user's, or the texts of a dataset's split. Fields `id` and `group` (or `image`,
or `document`) name an item and what it shares with others.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from vermeil_data import open_dataset
from vermeil_errors import InvalidInput, NotFound

from vermeil_evaluator.documents import check_split
from vermeil_evaluator.item import Item
from vermeil_evaluator.task import Material

Kinds = tuple[type, ...]
_WORDS: Mapping[type, str] = {str: "a text", list: "a list", int: "a whole number", NoneType: "nothing"}
_GROUPS = ("group", "image", "document")
MAX_BYTES = 2**30
"""Of a file."""


class Questions:
    """Checked lines, all in memory."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items
        lines = (json.dumps(item.fields, sort_keys=True, ensure_ascii=False) for item in items)
        self._sha256 = hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def sha256(self) -> str:
        """Of the fields of all items."""
        return self._sha256

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)


def questions(
    check: Callable[[Mapping[str, Any]], str | None] | None = None, **fields: type | Kinds
) -> Callable[[Material], Questions]:
    """A reader of lines with these fields, each of one of these types; NoneType among them makes it optional.

    `check` looks at the fields of a line that has them all, and returns what is wrong with them.
    """
    wanted = {name: kind if isinstance(kind, tuple) else (kind,) for name, kind in fields.items()}

    def read(material: Material) -> Questions:
        items: list[Item] = []
        for place, text in _lines(material):
            record = _record(text, place, wanted)
            problem = check(record) if check else None
            if problem:
                raise InvalidInput(f"{place}: {problem}", field="spec.dataset")
            group = next((str(record[name]) for name in _GROUPS if record.get(name) is not None), "")
            items.append(Item(str(record.get("id", len(items) + 1)), record, group))
            if len(items) == material.limit:
                break
        if not items:
            raise InvalidInput.for_field(
                "spec.dataset", material.data.name, "holds no questions", "write one JSON object a line"
            )
        return Questions(items)

    return read


def _lines(material: Material) -> Iterator[tuple[str, str]]:
    """Every line that is not blank, with the name of its place."""
    if material.data.is_dir():
        dataset = open_dataset(material.data)
        check_split(dataset.card, material.split)
        for sample in dataset.split(material.split):
            yield f"{dataset.card.name}, sample {sample.id}", sample.text
        return
    # Not splitlines: a text within a line may well hold U+2028, which JSON leaves as it is.
    for number, line in enumerate(_text(material.data).split("\n"), start=1):
        if line.strip():
            yield f"{material.data.name} line {number}", line


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput.for_field("spec.dataset", path.name, "is larger than 1 GiB", "cut it up")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound("no such file or folder", field=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 at byte {error.start:,}", field=str(path)) from error


def _record(text: str, place: str, wanted: Mapping[str, Kinds]) -> dict[str, Any]:
    needed = f"needed: {', '.join(wanted)}"
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}: is not JSON: {error}", field="spec.dataset", fix=needed) from error
    if not isinstance(record, dict):
        raise InvalidInput(f"{place}: is not a JSON object", field="spec.dataset", fix=needed)
    for name, kinds in wanted.items():
        value = record.get(name)
        if isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds):
            continue
        problem = f"must be {' or '.join(_WORDS.get(kind, kind.__name__) for kind in kinds)}"
        if name not in record:
            has = ", ".join(record) or "nothing"
            problem = f"is missing; the line has {has}"
        raise InvalidInput(f"{place}: field {name!r} {problem}", field="spec.dataset", fix=needed)
    return record
