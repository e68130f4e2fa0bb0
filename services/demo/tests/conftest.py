"""A gateway in memory, and the SDK on it."""

import pytest
from vermeil_client import Vermeil
from vermeil_demo.fakes import FakeVermeil


@pytest.fixture
def gateway() -> FakeVermeil:
    return FakeVermeil()


@pytest.fixture
def vermeil(gateway: FakeVermeil) -> Vermeil:
    return Vermeil("http://gateway", http=gateway)
