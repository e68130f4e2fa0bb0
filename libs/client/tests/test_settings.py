"""Which gateway is called where none was named."""

import json
from pathlib import Path

import pytest
from vermeil_client.settings import ClientSettings
from vermeil_errors import Unavailable


def test_a_home_that_is_named_is_meant(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(Unavailable, match="nothing runs on it; start it with `vermeil up`"):
        ClientSettings.load().gateway_url()
    home.mkdir()
    (home / "endpoint.json").write_text(json.dumps({"url": "http://127.0.0.1:9"}))
    assert ClientSettings.load().gateway_url() == "http://127.0.0.1:9"


def test_a_gateway_that_is_named_is_meant_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_URL", "http://gateway/")
    assert ClientSettings.load().gateway_url() == "http://gateway"


def test_the_usual_address_is_for_those_who_name_neither(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VERMEIL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ClientSettings.load().gateway_url() == "http://127.0.0.1:8080"
