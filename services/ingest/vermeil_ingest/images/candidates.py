"""What readers hand on: pictures as they were found, in units that can be read apart from each other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from vermeil_errors import InvalidInput, VermeilError


class Question(NamedTuple):
    """Something that is asked about a picture."""

    text: str
    answer: str


@dataclass(frozen=True)
class Candidate:
    """A picture that nobody has looked at yet."""

    id: str
    """Path within the source; of a picture in an archive or table, with its place behind it."""
    data: bytes
    """The file."""
    captions: tuple[str, ...] = ()
    class_name: str | None = None
    class_number: int | None = None
    """Place of the class where classes have an order."""
    split: str = ""
    """Where the source itself puts it: train, validation or test; empty: wherever its hash says."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    """What is asked about it; each becomes a sample of its own."""
    is_ours: bool = False
    """True if the bytes were made here, not read: no need to look at them with care."""


@dataclass(frozen=True)
class BadCandidate:
    """Something that should have been a picture."""

    id: str
    error: VermeilError


Found = Candidate | BadCandidate


@dataclass(frozen=True)
class Unit:
    """A part of a source that can be read by itself, in any process, at any time."""

    name: str
    """For people."""
    size: int
    """Pictures in it; 1 where nobody has counted."""
    read: Callable[[], Iterator[Found]]
    """Reads it from the beginning."""


@dataclass(frozen=True)
class Plan:
    """What a source holds, in order."""

    units: tuple[Unit, ...]
    classes: tuple[str, ...] = ()
    """Classes that the source declares: each must have a picture in the end."""
    has_validation: bool = False
    """Whether the source itself keeps some apart for validation."""


ThingT = TypeVar("ThingT")
_A_UNIT = 256


def grouped(
    things: Sequence[ThingT], read: Callable[[Sequence[ThingT]], Iterator[Found]]
) -> tuple[Unit, ...]:
    """Units of 256 things each."""
    groups = [things[start : start + _A_UNIT] for start in range(0, len(things), _A_UNIT)]
    return tuple(Unit(str(getattr(group[0], "id", "")), len(group), partial(read, group)) for group in groups)


def bad(identity: str, message: str, problem: str, fix: str | None = None) -> BadCandidate:
    """A picture that is left out, and why."""
    return BadCandidate(
        identity, InvalidInput(message, field=identity, fix=fix, metadata={"problem": problem})
    )


def words(value: object) -> tuple[str, ...]:
    """A caption or a list of them, as JSON and Parquet have them; anything else says nothing."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(each for each in value if isinstance(each, str))
    return ()


def captions_of(record: Mapping[str, object], fields: Sequence[str]) -> tuple[str, ...]:
    """The captions in a record: of the fields asked for, by default of those with a usual name."""
    names = ("text", "caption", "captions") if tuple(fields) == ("text",) else fields
    return tuple(text for name in names for text in words(record.get(name)))


def class_of(record: Mapping[str, object], names: Sequence[str] = ()) -> tuple[str | None, int | None]:
    """The class in a record, by name or by number; `names` are those of the numbers."""
    for key in ("class", "class_name", "label"):
        value = record.get(key)
        if isinstance(value, str) and value:
            return value, names.index(value) if value in names else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return (names[value] if value < len(names) else str(value)), value
    return None, None
