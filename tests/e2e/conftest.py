"""One Vermeil for all end-to-end tests of a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from vermeil_local.testing import Installation, installation, write_words


@pytest.fixture(scope="session")
def vermeil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running Vermeil."""
    with installation(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="session")
def dataset(vermeil: Installation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset made by `vermeil ingest`."""
    folder: Path = tmp_path_factory.mktemp("corpus")
    write_words(folder)
    vermeil.command("ingest", str(folder), "--name", "words")
    return "words"
