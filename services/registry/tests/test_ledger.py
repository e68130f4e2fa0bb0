"""The ledger and the names pass their suites over SQL and over the wire."""

from collections.abc import Iterator

import pytest
from vermeil_jobs import Names, RegistryNames
from vermeil_jobs.suite import Bench, JobClientSuite, NamesSuite
from vermeil_rpc import connect


class TestOverSql(JobClientSuite):
    @pytest.fixture
    def bench(self, sql_bench: Bench) -> Bench:
        return sql_bench


class TestOverTheWire(JobClientSuite):
    @pytest.fixture
    def bench(self, wire_bench: Bench) -> Bench:
        return wire_bench


class TestNamesOverTheWire(NamesSuite):
    @pytest.fixture
    def bench(self, wire_bench: Bench) -> Bench:
        return wire_bench

    @pytest.fixture
    def names(self, address: str) -> Iterator[Names]:
        with connect(address) as channel:
            yield RegistryNames(channel, timeout=60)
