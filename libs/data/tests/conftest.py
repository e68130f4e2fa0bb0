"""The way to the real data."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real data."""
    folder = os.environ.get("VERMEIL_DATA_DIR")
    if not folder:
        pytest.skip("VERMEIL_DATA_DIR does not name a folder of real data")
    return Path(folder)
