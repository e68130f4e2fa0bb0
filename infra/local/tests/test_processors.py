"""Several processes that compute share the processors."""

import os

import pytest
from vermeil_local.processors import share_processors


def test_threads_that_wait_sleep_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    share_processors()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    share_processors()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
