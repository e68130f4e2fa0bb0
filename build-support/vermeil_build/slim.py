"""What an environment can do without once it is installed: it runs services, and builds and tests nothing.

Types stay, for some packages find out by them what to import late; so do headers of torch, for its compiler.
"""

import shutil
from pathlib import Path

_ANYWHERE = ("tests", "*.a")
_OF_PYARROW = ("include", "libarrow*flight*", "_flight*")
"""To compile against it, and to ask other machines in a way that nobody here takes."""


def surplus(packages: Path) -> list[Path]:
    """Folders and files below a site-packages that nothing needs to run."""
    found = [each for pattern in _ANYWHERE for each in packages.rglob(pattern)]
    return found + [each for pattern in _OF_PYARROW for each in (packages / "pyarrow").glob(pattern)]


def slim(environment: Path) -> None:
    """Remove it from a virtual environment."""
    for packages in environment.glob("lib/python*/site-packages"):
        for each in surplus(packages):
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink(missing_ok=True)  # it may have gone with its folder
