"""An address gives the store it names, and a wrong address says what to write."""

from pathlib import Path

import pytest
from vermeil_artifacts import LocalStore, open_store, store_from_settings
from vermeil_errors import InvalidInput
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
