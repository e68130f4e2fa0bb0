"""Audit: who changed, or tried to change, what and when. Events are added, never changed.

Old ones are removed by forget.py alone, where an operator has asked for it. It believes what it is
told: only the gateway, which knows its callers, tells it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select
from vermeil_errors import InvalidInput
from vermeil_jobs.job import utc_now
from vermeil_jobs.names import check_request_id
from vermeil_jobs.pages import check_page_size, make_token, read_number

from vermeil_registry.database import Database
from vermeil_registry.tables import AUDIT_EVENTS

_LENGTHS = {"caller": (1, 128), "action": (1, 256), "resource": (0, 256), "trace_request_id": (0, 128)}


@dataclass(frozen=True)
class NewEvent:
    """What happened."""

    caller: str
    action: str
    resource: str
    status: int
    trace_request_id: str

    def __post_init__(self) -> None:
        for name, (least, most) in _LENGTHS.items():
            value = getattr(self, name)
            if not (least <= len(value) <= most and value.isprintable()):
                problem = f"needs {least} to {most} printable characters"
                raise InvalidInput.for_field(f"event.{name}", value[:most], problem)
        if not 100 <= self.status <= 599:
            raise InvalidInput.for_field("event.status", self.status, "is no HTTP status", "100 to 599")


@dataclass(frozen=True)
class Event:
    """What was written down."""

    new: NewEvent
    time: datetime


class Audit:
    """Writes events down, and finds them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def record(self, new: NewEvent, request_id: str) -> Event:
        """Add an event; the same request is written once."""
        check_request_id(request_id)

        def work(connection: Connection) -> Event:
            query = select(AUDIT_EVENTS).where(AUDIT_EVENTS.c.request_id == request_id)
            known = connection.execute(query).first()
            if known is not None:
                return _event(known)
            event = Event(new, self._clock())
            values = {**asdict(new), "time": event.time, "request_id": request_id}
            connection.execute(insert(AUDIT_EVENTS).values(values))
            return event

        return self._database.write(work)

    def list_events(
        self, page_size: int, page_token: str, *, caller: str = "", resource: str = ""
    ) -> tuple[list[Event], str]:
        """A page of events, newest first."""
        scope, limit = f"audit {caller} {resource}", check_page_size(page_size)
        before = read_number(page_token, scope)
        query = select(AUDIT_EVENTS).order_by(AUDIT_EVENTS.c.number.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(AUDIT_EVENTS.c.number < before)
        if caller:
            query = query.where(AUDIT_EVENTS.c.caller == caller)
        if resource:
            query = query.where(AUDIT_EVENTS.c.resource == resource)
        rows = self._database.read(lambda connection: list(connection.execute(query)))
        token = make_token(scope, rows[limit - 1].number) if len(rows) > limit else ""
        return [_event(row) for row in rows[:limit]], token


def _event(row: Row[*tuple[object, ...]]) -> Event:
    return Event(NewEvent(**{each.name: getattr(row, each.name) for each in fields(NewEvent)}), row.time)
