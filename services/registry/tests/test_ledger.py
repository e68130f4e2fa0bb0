"""The ledger passes the suite over SQL and over the wire."""

import pytest
from vermeil_jobs.suite import Bench, JobClientSuite


class TestOverSql(JobClientSuite):
    @pytest.fixture
    def bench(self, sql_bench: Bench) -> Bench:
        return sql_bench


class TestOverTheWire(JobClientSuite):
    @pytest.fixture
    def bench(self, wire_bench: Bench) -> Bench:
        return wire_bench
