"""A gateway in memory, and the SDK on it."""

import pytest
from vermeil_client import Vermeil
from vermeil_demo.clients import Gateway
from vermeil_demo.fakes import FakeVermeil


@pytest.fixture
def fake() -> FakeVermeil:
    return FakeVermeil()


@pytest.fixture
def gateway(fake: FakeVermeil) -> Gateway:
    return Gateway.on(fake, fake)


@pytest.fixture
def vermeil(gateway: Gateway) -> Vermeil:
    return gateway.plain
