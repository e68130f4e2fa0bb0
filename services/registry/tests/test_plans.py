"""What is asked often is found along an index, so that it takes no longer for all that is over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from vermeil_jobs import JobState, Ledger, RecordingDoorbell
from vermeil_registry.audit import Audit
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.database import Database
from vermeil_registry.storage import SqlStorage

from .house import House

KIND = "vermeil.tester.v1.test"
Ask = Callable[[Database], object]


def ledger(database: Database) -> Ledger:
    return Ledger(SqlStorage(database), RecordingDoorbell())


ASKED: dict[str, tuple[Ask, str]] = {
    "jobs of a state": (lambda rows: ledger(rows).list_jobs(state=JobState.FAILED), "(state=?)"),
    "jobs of a kind": (lambda rows: ledger(rows).list_jobs(kind=KIND), "(kind=?)"),
    "jobs of both": (
        lambda rows: ledger(rows).list_jobs(kind=KIND, state=JobState.FAILED),
        "(kind=? AND state=?)",
    ),
    "what is due": (lambda rows: ledger(rows).sweep(), "(ring_time<?)"),
    "lengths": (lambda rows: ledger(rows).lengths(), "(state=?)"),
    "artifacts of a kind": (lambda rows: Catalogue(rows).list_artifacts(10, "", "model"), "(kind=?)"),
    "changes of a caller": (lambda rows: Audit(rows).list_events(10, "", caller="x"), "(caller=?)"),
    "changes of a resource": (lambda rows: Audit(rows).list_events(10, "", resource="x"), "(resource=?)"),
}


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """How SQLite goes about what is asked meanwhile."""
    found: list[str] = []

    def explain(_connection: object, cursor: Any, statement: str, values: Any, *_more: object) -> None:
        if statement.startswith("SELECT"):
            steps = cursor.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", values)
            found.extend(step[3] for step in steps)

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("what", ASKED)
def test_lists_are_read_along_an_index(house: House, what: str) -> None:
    ask, condition = ASKED[what]
    with plans(house.database) as found:
        ask(house.database)
    assert any(condition in step for step in found), found
    assert not [step for step in found if "ORDER BY" in step], found
