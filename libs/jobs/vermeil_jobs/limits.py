"""Limits: how many jobs an owner may have at once; Quota: those, and how many it has."""

from dataclasses import dataclass, fields

from vermeil_errors import InvalidInput

_MOST = 2**31 - 1


@dataclass(frozen=True)
class Limits:
    """How many jobs an owner may have at once; 0 for no bound."""

    max_running: int = 0
    """Jobs that workers hold; others wait."""
    max_waiting: int = 0
    """Jobs that wait; more are refused."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 <= value <= _MOST:
                problem, fix = "is out of range", "use 0 for no bound, or more"
                raise InvalidInput.for_field(f"limits.{each.name}", value, problem, fix)


@dataclass(frozen=True)
class Quota:
    """What an owner may have at once, and has."""

    owner: str
    limits: Limits
    is_default: bool
    """True where the limits are not its own."""
    num_running: int
    num_waiting: int
