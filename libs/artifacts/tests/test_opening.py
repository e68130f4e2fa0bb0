"""An address gives the store it names, and a wrong address says what to write."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from vermeil_artifacts import ArtifactStore, LocalStore, await_store, open_store, opening, store_from_settings
from vermeil_errors import InvalidInput, PermissionDenied, Unavailable
from vermeil_settings import ArtifactSettings


def test_a_file_address_gives_a_local_store(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/with space & 100%")
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path / "with space & 100%"


def test_settings_name_a_store_in_the_home_folder(tmp_path: Path) -> None:
    store = store_from_settings(ArtifactSettings.load(home=tmp_path))
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path / "artifacts"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "write file:///folder"),
        ("/srv/artifacts", "write file:///folder"),
        ("file://relative", "not an absolute path"),
        ("ftp://host/x", "no kind of store"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket/prefix", "VERMEIL_S3_ENDPOINT"),
    ],
)
def test_a_wrong_address_says_what_to_write(url: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=advice):
        open_store(url, cache=tmp_path)


def test_an_s3_store_needs_a_cache() -> None:
    with pytest.raises(InvalidInput, match="cache"):
        open_store("s3://bucket/prefix", s3_endpoint="127.0.0.1:9000")


@pytest.fixture
def house(tmp_path: Path) -> ArtifactSettings:
    """On an S3 server of which there is none."""
    return ArtifactSettings.load(home=tmp_path, artifacts_url="s3://bucket/x", s3_endpoint="127.0.0.1:1")


def test_who_starts_before_its_store_waits_and_says_for_what(
    house: ArtifactSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found, asked = LocalStore(tmp_path), []

    def away_twice(_settings: ArtifactSettings) -> ArtifactStore:
        asked.append(1)
        if len(asked) < 3:
            raise Unavailable("nobody listens at s3:8333")
        return found

    slept: list[float] = []
    monkeypatch.setattr(opening, "store_from_settings", away_twice)
    monkeypatch.setattr(opening, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=slept.append))
    assert await_store(house) is found
    assert slept == [1.0, 2.0]
    assert caplog.text.count("waiting for the artifact store") == caplog.text.count("s3:8333") == 2


def test_who_waited_in_vain_ends_with_what_to_check(
    house: ArtifactSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_PATIENCE", 0.0)
    with pytest.raises(Unavailable, match=r"VERMEIL_S3_ENDPOINT.*s3://bucket/x.*in vain.*check"):
        await_store(house)


@pytest.mark.parametrize("refusal", [PermissionDenied("wrong key"), InvalidInput("no such address")])
def test_what_waiting_will_not_mend_is_said_at_once(
    house: ArtifactSettings, refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_settings: ArtifactSettings) -> ArtifactStore:
        raise refusal

    monkeypatch.setattr(opening, "store_from_settings", refuse)
    with pytest.raises(type(refusal)):
        await_store(house)
