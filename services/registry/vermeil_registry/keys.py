"""Keys: who may open the gateway, for what, how much, and what each has done so far.

It never sees a secret: whoever creates a key draws one and sends its hash. Use is counted by key and
day, so that quotas of a day, a month and for ever are sums over the same rows.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from vermeil_errors import AlreadyExists, InvalidInput, NotFound, Unauthenticated
from vermeil_jobs.job import utc_now
from vermeil_jobs.names import DEFAULT_OWNER, check_owner, check_request_id
from vermeil_jobs.pages import check_page_size, make_token, read_number

from vermeil_registry.database import Database
from vermeil_registry.tables import API_KEY_REPORTERS, API_KEY_USAGE, API_KEYS

SCOPES = ("inference", "read", "submit", "admin")
MAX_ENTRIES = 1000
_DIGEST_BYTES = 32
_MAX_NUMBER = 2**62
_MAX_TEXT = 128
_FORGET_REPORTERS = timedelta(days=7)
_NAME = re.compile(r"keys/[a-z0-9]{16}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_REPORTER = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True)
class Limits:
    """How much a key may do; 0 for no bound."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    tokens_per_day: int = 0
    tokens_per_month: int = 0
    tokens_in_total: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 <= value <= _MAX_NUMBER:
                raise InvalidInput.for_field(
                    f"key.limits.{each.name}", value, "is out of range", "use 0 for no bound, or more"
                )


@dataclass(frozen=True)
class Usage:
    """What a key has done."""

    day: str
    """The day that is today, as 2026-11-29 in UTC."""
    requests: int
    tokens_today: int
    tokens_this_month: int
    tokens_in_total: int


@dataclass(frozen=True)
class NewKey:
    """A key to create."""

    name: str
    display_name: str
    owner: str
    scopes: tuple[str, ...]
    expire_time: datetime | None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_name(self.name, "key.name")
        check_owner(self.owner, "key.owner")
        if len(self.display_name) > _MAX_TEXT or not self.display_name.isprintable():
            raise InvalidInput.for_field(
                "key.display_name", self.display_name, "is no name", f"write one line of up to {_MAX_TEXT}"
            )
        wrong = [scope for scope in self.scopes if scope not in SCOPES]
        if wrong or not self.scopes or len(set(self.scopes)) < len(self.scopes):
            value = wrong[0] if wrong else list(self.scopes)
            raise InvalidInput.for_field(
                "key.scopes",
                value,
                "is not what a key may do",
                f"name some of {', '.join(SCOPES)}, each once",
            )


@dataclass(frozen=True)
class Key:
    """A key as it stands."""

    new: NewKey
    create_time: datetime
    revoke_time: datetime | None
    last_used_time: datetime | None
    usage: Usage


@dataclass(frozen=True)
class Entry:
    """What one key did on one day."""

    name: str
    day: str
    requests: int
    tokens: int
    last_used_time: datetime

    def __post_init__(self) -> None:
        check_name(self.name, "entries.name")
        _check(_DAY, "entries.day", self.day, "write it as 2026-11-29")
        for name, value in (("requests", self.requests), ("tokens", self.tokens)):
            if not 0 <= value <= _MAX_NUMBER:
                raise InvalidInput.for_field(f"entries.{name}", value, "is out of range", "send 0 or more")


class Keys:
    """Creates, finds, ends and counts."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def create(self, new: NewKey, secret_digest: bytes, request_id: str) -> Key:
        """Add a key; the same request gives the same key."""
        check_request_id(request_id)
        _check_digest(secret_digest)
        if new.expire_time is not None and new.expire_time <= self._clock():
            raise InvalidInput.for_field(
                "key.expire_time", new.expire_time.isoformat(), "has passed", "name a later time"
            )

        def work(connection: Connection) -> Key:
            known = connection.execute(select(API_KEYS).where(API_KEYS.c.request_id == request_id)).first()
            if known is not None:
                _check_same_secret(known, secret_digest)
                return self._key(connection, known)
            if _find(connection, new.name) is not None:
                raise AlreadyExists(f"{new.name} exists", field="key.name", fix="draw another id and secret")
            values = asdict(new) | {"scopes": list(new.scopes), "create_time": self._clock()}
            values |= {"secret_digest": secret_digest, "request_id": request_id}
            connection.execute(insert(API_KEYS).values(values))
            return self._key(connection, _row(connection, new.name))

        return self._database.write(work)

    def get(self, name: str) -> Key:
        """One key."""
        check_name(name, "name")
        return self._database.read(lambda connection: self._key(connection, _row(connection, name)))

    def list_keys(self, page_size: int, page_token: str) -> tuple[list[Key], str]:
        """A page of keys, newest first."""
        limit, before = check_page_size(page_size), read_number(page_token, "keys")
        query = select(API_KEYS).order_by(API_KEYS.c.number.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(API_KEYS.c.number < before)

        def work(connection: Connection) -> tuple[list[Key], str]:
            rows = connection.execute(query).all()
            token = make_token("keys", rows[limit - 1].number) if len(rows) > limit else ""
            return [self._key(connection, row) for row in rows[:limit]], token

        return self._database.read(work)

    def revoke(self, name: str) -> Key:
        """End a key; the first time counts."""
        check_name(name, "name")

        def work(connection: Connection) -> Key:
            _row(connection, name)
            is_open = (API_KEYS.c.name == name) & API_KEYS.c.revoke_time.is_(None)
            connection.execute(update(API_KEYS).where(is_open).values(revoke_time=self._clock()))
            return self._key(connection, _row(connection, name))

        return self._database.write(work)

    def check(self, name: str, secret_digest: bytes) -> Key:
        """The key of a secret, whether it still opens or not."""
        check_name(name, "name")
        _check_digest(secret_digest)

        def work(connection: Connection) -> Key | None:
            row = _find(connection, name)
            known = row.secret_digest if row is not None else bytes(_DIGEST_BYTES)
            matches = hmac.compare_digest(known, secret_digest)
            return self._key(connection, row) if row is not None and matches else None

        key = self._database.read(work)
        if key is None:
            raise Unauthenticated("wrong API key")
        return key

    def report(self, reporter: str, sequence: int, entries: Sequence[Entry]) -> list[Key]:
        """Add to what keys have done, once a sequence number; the keys afterwards."""
        _check(_REPORTER, "reporter", reporter, "send 1 to 64 printable characters")
        if not 1 <= sequence <= _MAX_NUMBER:
            raise InvalidInput.for_field("sequence", sequence, "is out of range", "count from 1")
        if len(entries) > MAX_ENTRIES:
            raise InvalidInput.for_field(
                "entries", len(entries), "are too many", f"send {MAX_ENTRIES} at most"
            )

        def work(connection: Connection) -> list[Key]:
            is_new = _takes_turn(connection, reporter, sequence, self._clock())
            names = {entry.name: _find(connection, entry.name) for entry in entries}
            if is_new:
                for entry in entries:
                    if names[entry.name] is not None:
                        _add(connection, entry)
            return [self._key(connection, _row(connection, name)) for name, row in names.items() if row]

        return self._database.write(work)

    def _key(self, connection: Connection, row: Row[*tuple[Any, ...]]) -> Key:
        today = self._clock().astimezone(UTC).date()
        return Key(
            new=NewKey(
                name=row.name,
                display_name=row.display_name,
                owner=row.owner,
                scopes=tuple(row.scopes),
                expire_time=row.expire_time,
                limits=Limits(**row.limits),
            ),
            create_time=row.create_time,
            revoke_time=row.revoke_time,
            last_used_time=row.last_used_time,
            usage=_usage(connection, row.name, today),
        )


def check_name(name: str, path: str) -> None:
    """Refuse what is not the name of a key."""
    _check(_NAME, path, name, 'write "keys/" and 16 characters of a-z and 0-9')


def owner_or_default(owner: str) -> str:
    """Who answers for a key."""
    return owner or DEFAULT_OWNER


def _check(pattern: re.Pattern[str], path: str, value: str, fix: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidInput.for_field(path, value, "is not written as it should be", fix)


def _check_digest(digest: bytes) -> None:
    if len(digest) != _DIGEST_BYTES:
        raise InvalidInput(
            f"has {len(digest)} bytes", field="secret_digest", fix="send SHA-256 of the secret, 32 bytes"
        )


def _check_same_secret(row: Row[*tuple[Any, ...]], secret_digest: bytes) -> None:
    if not hmac.compare_digest(row.secret_digest, secret_digest):
        raise AlreadyExists(
            f"this request has already made {row.name}, whose secret was shown then",
            field="request_id",
            fix="revoke that key, and ask for a new one with a new request_id",
        )


def _find(connection: Connection, name: str) -> Row[*tuple[Any, ...]] | None:
    return connection.execute(select(API_KEYS).where(API_KEYS.c.name == name)).first()


def _row(connection: Connection, name: str) -> Row[*tuple[Any, ...]]:
    row = _find(connection, name)
    if row is None:
        raise NotFound(f"{name} does not exist", fix="list the keys to see their names")
    return row


def _usage(connection: Connection, name: str, today: date) -> Usage:
    month = today.replace(day=1).isoformat()
    tokens = API_KEY_USAGE.c.tokens
    query = select(
        func.coalesce(func.sum(API_KEY_USAGE.c.requests), 0),
        func.coalesce(func.sum(tokens).filter(API_KEY_USAGE.c.day == today.isoformat()), 0),
        func.coalesce(func.sum(tokens).filter(API_KEY_USAGE.c.day >= month), 0),
        func.coalesce(func.sum(tokens), 0),
    ).where(API_KEY_USAGE.c.key == name)
    return Usage(today.isoformat(), *map(int, connection.execute(query).one()))


def _takes_turn(connection: Connection, reporter: str, sequence: int, now: datetime) -> bool:
    """Whether this report is newer than all of its reporter so far; it is then the last one."""
    table = API_KEY_REPORTERS
    is_older = (table.c.reporter == reporter) & (table.c.sequence < sequence)
    values = {"sequence": sequence, "time": now}
    if connection.execute(update(table).where(is_older).values(values)).rowcount:
        return True
    if connection.scalar(select(table.c.sequence).where(table.c.reporter == reporter)) is not None:
        return False
    connection.execute(delete(table).where(table.c.time < now - _FORGET_REPORTERS))
    connection.execute(insert(table).values(reporter=reporter, **values))
    return True


def _add(connection: Connection, entry: Entry) -> None:
    table = API_KEY_USAGE
    place = (table.c.key == entry.name) & (table.c.day == entry.day)
    more = {
        table.c.requests: table.c.requests + entry.requests,
        table.c.tokens: table.c.tokens + entry.tokens,
    }
    if not connection.execute(update(table).where(place).values(more)).rowcount:
        connection.execute(
            insert(table).values(key=entry.name, day=entry.day, requests=entry.requests, tokens=entry.tokens)
        )
    earlier = API_KEYS.c.last_used_time.is_(None) | (API_KEYS.c.last_used_time < entry.last_used_time)
    connection.execute(
        update(API_KEYS)
        .where((API_KEYS.c.name == entry.name) & earlier)
        .values(last_used_time=entry.last_used_time)
    )
