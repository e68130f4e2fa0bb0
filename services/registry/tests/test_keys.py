"""Keys of the gateway: how they come, open, end, and what is counted of them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from vermeil.registry.v1 import api_key_service_pb2 as wire
from vermeil.registry.v1.api_key_pb2 import ApiKey, ApiKeyLimits
from vermeil.registry.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from vermeil_errors import AlreadyExists, InvalidInput, NotFound, Unauthenticated
from vermeil_jobs import ManualClock
from vermeil_registry.database import Database
from vermeil_registry.keys import Entry, Keys, NewKey
from vermeil_rpc import connect

SECRET = sha256(b"a secret").digest()
NAME = "keys/0123456789abcdef"
TODAY = "2026-01-01"


def new(name: str = NAME, **changes: Any) -> NewKey:
    values = {"display_name": "tests", "owner": "owners/default", "expire_time": None}
    return NewKey(**{"name": name, "scopes": ("inference", "read"), **values, **changes})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys(database: Database, clock: ManualClock) -> Keys:
    return Keys(database, clock=clock)


def used(tokens: int, day: str = TODAY, name: str = NAME, requests: int = 1) -> Entry:
    return Entry(name, day, requests, tokens, datetime(2026, 1, 1, tzinfo=UTC))


def test_the_same_request_makes_one_key(keys: Keys) -> None:
    key = keys.create(new(), SECRET, "r1")
    assert keys.create(new(), SECRET, "r1") == key
    assert keys.list_keys(10, "") == ([key], "")


def test_a_request_whose_secret_was_shown_does_not_show_another(keys: Keys) -> None:
    keys.create(new(), SECRET, "r1")
    with pytest.raises(AlreadyExists, match=NAME):
        keys.create(new("keys/" + "1" * 16), sha256(b"another").digest(), "r1")
    with pytest.raises(AlreadyExists, match="draw another"):
        keys.create(new(), SECRET, "r2")


def test_only_the_hash_of_a_secret_is_kept(keys: Keys, database: Database) -> None:
    keys.create(new(), SECRET, "r1")
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM api_keys").all()
    assert bytes(rows[0][2]) == SECRET


def test_a_key_is_found_by_its_secret_alone(keys: Keys) -> None:
    key = keys.create(new(), SECRET, "r1")
    assert keys.check(NAME, SECRET) == key
    for name, digest in ((NAME, sha256(b"x").digest()), ("keys/" + "f" * 16, SECRET)):
        with pytest.raises(Unauthenticated):
            keys.check(name, digest)


def test_a_revoked_key_stays_revoked_from_the_first_time_on(keys: Keys, clock: ManualClock) -> None:
    keys.create(new(), SECRET, "r1")
    first = keys.revoke(NAME)
    clock.advance(5)
    assert keys.revoke(NAME) == first
    assert keys.check(NAME, SECRET).revoke_time == first.revoke_time
    with pytest.raises(NotFound):
        keys.revoke("keys/" + "f" * 16)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "keys/../../etc"}, "key.name"),
        ({"name": "keys/short"}, "key.name"),
        ({"owner": "me"}, "key.owner"),
        ({"scopes": ()}, "key.scopes"),
        ({"scopes": ("root",)}, "key.scopes"),
        ({"scopes": ("read", "read")}, "key.scopes"),
        ({"display_name": "x" * 129}, "key.display_name"),
        ({"display_name": "a\nb"}, "key.display_name"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        new(**changes)


def test_a_key_cannot_be_over_before_it_begins(keys: Keys, clock: ManualClock) -> None:
    with pytest.raises(InvalidInput, match="expire_time"):
        keys.create(new(expire_time=clock.now - timedelta(seconds=1)), SECRET, "r1")


def test_use_is_summed_by_day_by_month_and_for_ever(keys: Keys, clock: ManualClock) -> None:
    keys.create(new(), SECRET, "r1")
    keys.report("g", 1, [used(5), used(7), used(100, "2025-12-31")])
    usage = keys.get(NAME).usage
    assert (usage.requests, usage.tokens_today, usage.tokens_this_month, usage.tokens_in_total) == (
        3,
        12,
        12,
        112,
    )
    clock.advance(86_400)
    (key,) = keys.report("g", 2, [used(1, "2026-01-02")])
    assert (key.usage.day, key.usage.tokens_today, key.usage.tokens_this_month) == ("2026-01-02", 1, 13)


def test_a_report_that_comes_twice_counts_once(keys: Keys) -> None:
    keys.create(new(), SECRET, "r1")
    for sequence in (1, 1, 2, 1):
        keys.report("g", sequence, [used(10)])
    keys.report("another", 1, [used(10)])
    assert keys.get(NAME).usage.tokens_in_total == 30


def test_reports_at_once_are_all_counted(keys: Keys) -> None:
    keys.create(new(), SECRET, "r1")
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(lambda number: keys.report(f"g{number}", 1, [used(10)]), range(8))
    assert len(list(done)) == 8
    assert keys.get(NAME).usage.tokens_in_total == 80


def test_use_of_a_key_that_does_not_exist_is_left_out(keys: Keys) -> None:
    keys.create(new(), SECRET, "r1")
    (key,) = keys.report("g", 1, [used(1, name="keys/" + "f" * 16), used(2)])
    assert key.usage.tokens_in_total == 2


def test_keys_are_listed_newest_first_in_pages(keys: Keys) -> None:
    names = [f"keys/{number:016x}" for number in range(5)]
    for name in names:
        keys.create(new(name), SECRET, name)
    first, token = keys.list_keys(3, "")
    second, end = keys.list_keys(3, token)
    assert [key.new.name for key in (*first, *second)] == names[::-1]
    assert end == ""


def test_keys_travel_over_the_wire(address: str) -> None:
    limits = ApiKeyLimits(tokens_per_day=9)
    key = ApiKey(name=NAME, display_name="tests", scopes=["admin"], limits=limits)
    key.expire_time.FromSeconds(4_000_000_000)
    with connect(address) as channel:
        stub = ApiKeyServiceStub(channel)
        request = wire.CreateApiKeyRequest(key=key, secret_digest=SECRET, request_id="r1")
        made = stub.CreateApiKey(request, timeout=60).key
        assert made.owner == "owners/default"
        assert made.limits == limits
        assert made.expire_time == key.expire_time
        entry = wire.ApiKeyUsageEntry(name=NAME, day=TODAY, requests=1, tokens=3)
        report = wire.ReportApiKeyUsageRequest(reporter="g", sequence=1, entries=[entry])
        (after,) = stub.ReportApiKeyUsage(report, timeout=60).keys
        assert after.usage.tokens_today == 3
        check = wire.CheckApiKeyRequest(name=NAME, secret_digest=SECRET)
        assert stub.CheckApiKey(check, timeout=60).key == after
        assert stub.GetApiKey(wire.GetApiKeyRequest(name=NAME), timeout=60).key == after
        assert list(stub.ListApiKeys(wire.ListApiKeysRequest(), timeout=60).keys) == [after]
        revoked = stub.RevokeApiKey(wire.RevokeApiKeyRequest(name=NAME), timeout=60).key
        assert revoked.HasField("revoke_time")
