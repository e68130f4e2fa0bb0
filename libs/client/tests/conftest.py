"""A port nobody listens on, and settings that never see this machine's own Vermeil."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as kept:  # so that nobody else is given it meanwhile
        kept.bind(("127.0.0.1", 0))
        yield int(kept.getsockname()[1])


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VERMEIL_URL", raising=False)
    monkeypatch.delenv("VERMEIL_API_KEY", raising=False)
