"""Compiles the Python files of an image, so that no start has to: its root cannot be written to.

Byte code says by itself that it is valid, not by the time of its source: times are what differs between two
builds of the same files, and what a build that is to be repeated sets to one and the same.
"""

import os
import subprocess
import sys
from pathlib import Path

_OPTIONS = ("-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash")


def compile_all(folder: Path) -> None:
    """Compile every Python file below a folder; the same files give the same bytes.

    One that is written for another Python is named and left as it is: nobody could load it.
    """
    command = [sys.executable, "-m", "compileall", *_OPTIONS, str(folder)]
    subprocess.run(command, check=False, env={**os.environ, "PYTHONHASHSEED": "0"})
