"""Every store under one name: a test that takes `store` runs on each of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from vermeil_artifacts import ArtifactRef, ArtifactStore, LocalStore


@pytest.fixture(params=["local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def damage(store: ArtifactStore) -> Callable[[ArtifactRef, str], None]:
    """Flips one bit of a stored file behind the store's back."""

    def flip(ref: ArtifactRef, path: str) -> None:
        assert isinstance(store, LocalStore)
        blob = store.root / "blobs" / store.manifest(ref.digest).entry(path).sha256
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.chmod(0o644)
        blob.write_bytes(data)

    return flip


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "config.json").write_text('{"depth": 2}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    (folder / "empty.txt").touch()
    return folder
