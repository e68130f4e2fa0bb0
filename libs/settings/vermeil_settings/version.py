"""Which code runs: the version of the house and the commit, where an image or a checkout tells it."""

import os
from functools import cache
from pathlib import Path

VERSION = "0.1.0"
"""As in pyproject.toml."""
_REVISION = "VERMEIL_REVISION"
"""The commit that an image was built of; it is part of the image."""


@cache
def code_version(folder: Path | None = None) -> str:
    """Such as "0.1.0+g1a2b3c4d5e6f"; read from .git without calling git, once a process."""
    commit = os.environ.get(_REVISION) or _commit(folder or Path(__file__).parent)
    return f"{VERSION}+g{commit[:12]}" if commit else VERSION


def _commit(folder: Path) -> str:
    git = next((each / ".git" for each in (folder, *folder.parents) if (each / ".git").is_dir()), None)
    if git is None:
        return ""
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (line.split(" ") for line in (git / "packed-refs").read_text().splitlines())
        return next((parts[0] for parts in packed if parts[-1] == name), "")
    except OSError:
        return ""
