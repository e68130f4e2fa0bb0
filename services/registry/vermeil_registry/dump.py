"""All rows of a database as lines of JSON, and back into an empty one of any kind.

Goes by the tables as they are, not as this version of the code knows them, so that a dump is
restored at the revision it was taken at and then migrated. Values are those of the database: times
are numbers, JSON is text, bytes are base64.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, LargeBinary, MetaData, Table, func, insert, select, text
from vermeil_errors import DataCorrupted

ROWS_AT_ONCE = 500
"""In memory, of a table that is read or written from end to end."""
_OWN = "alembic_version"


def tables(connection: Connection) -> list[Table]:
    """Those with our rows; what others refer to comes first."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != _OWN]


def dump(connection: Connection) -> Iterator[bytes]:
    """A line for each row."""
    for table in tables(connection):
        query = select(table).order_by(*table.primary_key)
        for row in connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}).mappings():
            values = {column.name: _to_json(row[column.name]) for column in table.columns}
            yield json.dumps([table.name, values], separators=(",", ":")).encode() + b"\n"


def load(connection: Connection, lines: Iterable[bytes]) -> None:
    """Insert what `dump` gave into empty tables of the same revision."""
    known = {table.name: table for table in tables(connection)}
    for name, rows in groupby(map(json.loads, lines), key=itemgetter(0)):
        table = known.get(name)
        if table is None:
            raise DataCorrupted(f"the dump has rows of {name!r}, which is no table of its revision")
        while some := [_from_json(table, values) for _, values in islice(rows, ROWS_AT_ONCE)]:
            connection.execute(insert(table), some)
    if connection.dialect.name == "postgresql":
        _count_on(connection, known.values())


def first_with_rows(connection: Connection) -> str | None:
    """Name of a table that is not empty; None if all are."""
    for table in tables(connection):
        if connection.execute(select(table).limit(1)).first() is not None:
            return table.name
    return None


def _count_on(connection: Connection, known: Iterable[Table]) -> None:
    """Rows came with their numbers; the next ones go on after them."""
    for table in known:
        if "number" in table.columns and table.columns["number"].primary_key and len(table.primary_key) == 1:
            highest = connection.scalar(select(func.max(table.columns["number"])))
            if highest is not None:
                ask = text("SELECT setval(pg_get_serial_sequence(:name, 'number'), :highest)")
                connection.execute(ask, {"name": table.name, "highest": highest})


def _to_json(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _from_json(table: Table, values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64decode(value) if isinstance(table.columns[name].type, LargeBinary) else value
        for name, value in values.items()
    }
