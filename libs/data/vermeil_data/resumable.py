"""What all loaders share: endless batches by position, the rows of one rank, and going on exactly.

Every rank reads its own rows of the same global batch: with W ranks of B rows, the union is what one
rank of W * B rows would read. Knows nothing of what is in a batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from vermeil_errors import Conflict, InvalidInput

BatchT = TypeVar("BatchT")
StateT = TypeVar("StateT", bound="Standing")


@dataclass(frozen=True)
class Standing:
    """Where a loader stands, as plain JSON values; what else is in it guards against other data."""

    position: int
    """Rows handed out so far, on all ranks together."""

    MOVING: ClassVar[frozenset[str]] = frozenset({"position"})
    """Fields that change while reading."""
    OF: ClassVar[str] = "a loader"

    def to_dict(self) -> dict[str, Any]:
        """For json.dumps."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """From json.loads."""
        try:
            return cls(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise InvalidInput(f"is not the state of {cls.OF}: {error}", field="loader") from error


class ResumableLoader(Iterator[BatchT], ABC, Generic[BatchT, StateT]):
    """Batches that are a function of the data, the settings and a position."""

    def __init__(self, start: StateT, rows: int, rank: int, world_size: int) -> None:
        self._start = start
        self._rows, self._rank, self._world_size = rows, rank, world_size
        self._stride = rows * world_size
        self._position = start.position
        self._ready: Iterator[BatchT] = iter(())

    def __next__(self) -> BatchT:
        batch = next(self._ready, None)
        if batch is None:
            self._ready = self._chunk()
            batch = next(self._ready)
        self._position += self._stride
        return batch

    def state(self) -> StateT:
        """Everything needed to go on after the last batch handed out."""
        return replace(self._start, position=self._position)

    def restore(self, state: StateT) -> None:
        """Go on where `state` was taken; refused where data or settings differ."""
        for name, mine in vars(self._start).items():
            theirs = getattr(state, name)
            if name not in state.MOVING and theirs != mine:
                raise Conflict(
                    f"the checkpoint's loader had {name} {theirs!r}, this one has {mine!r}",
                    fix="set it back, or train in another folder",
                )
        self._position = state.position
        self._ready = iter(())

    @abstractmethod
    def _chunk(self) -> Iterator[BatchT]:
        """The batches of the next steps from the position on, read at once."""


def check_rows(name: str, rows: int, rank: int, world_size: int) -> None:
    """Refuse rows of a rank that cannot be; `name` is what the caller calls them."""
    if rows < 1:
        raise InvalidInput.for_field(name, rows, "must be at least 1")
    if not 0 <= rank < world_size:
        raise InvalidInput.for_field("rank", rank, f"must be 0 to {world_size - 1}")


def moved(part: torch.Tensor | None, device: torch.device) -> torch.Tensor | None:
    """A part of a batch on another device, copied while the CPU goes on."""
    if part is None or device.type == "cpu":
        return part
    return part.pin_memory().to(device, non_blocking=True)
