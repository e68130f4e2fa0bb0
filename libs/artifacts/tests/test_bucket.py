"""A store that begins empty gets its bucket: once, whoever asks, and by a command for containers."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from vermeil_artifacts import opening, store_from_settings
from vermeil_artifacts.opening import make_bucket
from vermeil_errors import InvalidInput, NotFound, PermissionDenied, Unavailable
from vermeil_settings import ArtifactSettings
from vermeil_testing import ceph


@pytest.fixture
def settings(s3_server: Any, tmp_path: Path) -> ArtifactSettings:
    """Of a bucket that is not there."""
    return ArtifactSettings.load(
        home=tmp_path / "home",
        artifacts_url=f"s3://new-{uuid4().hex}/artifacts",
        s3_endpoint=s3_server.endpoint,
        s3_access_key=s3_server.access_key,
        s3_secret_key=s3_server.secret_key,
        s3_secure=False,
    )


def environment(settings: ArtifactSettings) -> dict[str, str]:
    """As a container is given them."""
    given = settings.model_dump(include={"artifacts_url", "s3_endpoint"}, mode="json")
    keys = {name: getattr(settings, name).get_secret_value() for name in ("s3_access_key", "s3_secret_key")}
    named = {f"VERMEIL_{name.upper()}": value for name, value in {**given, **keys}.items()}
    return {**named, "VERMEIL_S3_SECURE": "false", "VERMEIL_HOME": str(settings.home)}


def test_a_store_that_begins_empty_is_one_after_the_command(
    settings: ArtifactSettings, model_folder: Path
) -> None:
    with pytest.raises(NotFound, match="no bucket new-"):
        store_from_settings(settings)
    command = [sys.executable, "-m", "vermeil_artifacts.bucket"]
    given = {**environment(settings), "PYTHONPATH": ":".join(sys.path)}
    for _ in range(2):  # whoever comes second finds it
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ref = store_from_settings(settings).publish(model_folder, kind="model")
    make_bucket(settings)
    assert store_from_settings(settings).manifest(ref.digest).digest == ref.digest, "and leaves it as it is"


def test_who_may_not_make_one_is_told_at_once(settings: ArtifactSettings, s3_server: Any) -> None:
    if s3_server.endpoint != ceph().address:
        pytest.skip("moto lets everybody in")
    with pytest.raises(PermissionDenied, match="VERMEIL_S3_SECRET_KEY"):
        make_bucket(settings.model_copy(update={"s3_secret_key": SecretStr("wrong")}))


def test_a_server_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_PATIENCE", 0.0)
    away = ArtifactSettings.load(home=tmp_path, artifacts_url="s3://new/x", s3_endpoint="127.0.0.1:1")
    with pytest.raises(Unavailable, match="waited for in vain"):
        make_bucket(away)


@pytest.mark.parametrize(
    ("url", "advice"), [("file:///srv/artifacts", "needs no bucket"), ("s3://No_Bucket/x", "s3://bucket/")]
)
def test_an_address_without_a_bucket_is_refused_by_its_setting(url: str, advice: str) -> None:
    settings = ArtifactSettings.load(artifacts_url=url, s3_endpoint="127.0.0.1:1", s3_secure=False)
    with pytest.raises(InvalidInput, match=f"VERMEIL_ARTIFACTS_URL.*{advice}"):
        make_bucket(settings)
