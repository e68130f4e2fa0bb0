"""One thing to be judged: a question, a document, a picture's caption."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Item:
    """What a task is asked about once."""

    id: str
    """Where it came from; names it in reports."""
    fields: Mapping[str, Any]
    """What the task's data say about it."""
    group: str = ""
    """Items of one group are one piece of evidence: of the same picture or document; empty for none."""

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


class Items(Protocol):
    """The items of an evaluation, in order."""

    @property
    def sha256(self) -> str:
        """Of the content: equal for the same data under any name."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...
