"""Where Debian puts the programs of servers, and what to say when one is missing."""

import os
import shutil
from pathlib import Path

import pytest

_POSTGRES = Path("/usr/lib/postgresql")
_RABBITMQ = "/usr/lib/rabbitmq/bin"  # before PATH, where wrappers that change the user bear the same names
_DEBIAN = ("/usr/bin", "/usr/sbin")  # Pants runs tests without a PATH


def find(program: str, package: str) -> str:
    """Path of a program; skips the test where it is not installed, and fails it in CI, which installs all."""
    newest_first = sorted(map(str, _POSTGRES.glob("*/bin")), reverse=True)
    places = [*newest_first, _RABBITMQ, os.environ.get("PATH", ""), *_DEBIAN]
    found = shutil.which(program, path=os.pathsep.join(places))
    if found is None:
        words = f"needs {program}: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return found
