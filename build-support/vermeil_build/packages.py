"""Puts pinned packages into the environments that an image holds, with the standard library and pinned tools.

Packages come with their hashes; which of the pins somebody needs, uv finds out.
"""

import sys
from pathlib import Path

from vermeil_build.pins import PINS, Pin, read_pins
from vermeil_build.setup import output, run

TOOLS = ("uv", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
"""What builds wheels and installs them; it stays out of the image."""
_UNASKED = {
    "overrides.txt": "hf-xet; python_version < '3'\n",
    "uv.toml": '[[dependency-metadata]]\nname = "tokenizers"\nrequires-dist = []\n',
}
"""What packages ask for to load from the Hugging Face hub, which no image does: uv is told they do not."""


class Packages:
    """The pins of a checkout, and what installs them."""

    def __init__(self, root: Path, work: Path) -> None:
        """Make an environment with the tools in `work`."""
        self.pins = read_pins(root / PINS)
        self._constraint = root / PINS
        self._work = work
        run(sys.executable, "-m", "venv", work / "tools")
        wanted = self._write("".join(pin.text for pin in self.pins if pin.name in TOOLS))
        self.python = work / "tools/bin/python"
        run(self.python, "-m", "pip", "install", "-qq", "--no-cache-dir", "--require-hashes", "-r", wanted)

    def needed(self, asked: list[str]) -> set[str]:
        """Names of the packages that come with what is asked for."""
        options = ("-q", "--no-cache", "--no-header", "--no-annotate", "--no-strip-extras")
        overrides, settings = (self._write(text, name) for name, text in _UNASKED.items())
        unasked = ("--overrides", overrides, "--config-file", settings)
        file = self._write("".join(f"{each}\n" for each in asked))
        command = (self.python, "-m", "uv", "pip", "compile", *options, *unasked)
        told = output(*command, "--constraint", self._constraint, file)
        return {line.partition("==")[0].partition("[")[0].strip().lower() for line in told.splitlines()}

    def install(self, environment: Path, pins: list[Pin]) -> None:
        """These, as their hashes say, into a virtual environment."""
        file = self._write("".join(pin.text for pin in pins))
        self.install_as_told(environment, "--require-hashes", "-r", file)

    def install_as_told(self, environment: Path, *what: str | Path) -> None:
        """What uv's own words name, and nothing that it depends on."""
        options = ("-q", "--no-cache", "--no-deps", "--python")
        run(self.python, "-m", "uv", "pip", "install", *options, environment / "bin/python", *what)

    def _write(self, text: str, name: str = "packages.txt") -> Path:
        file = self._work / name
        file.write_text(text, encoding="utf-8")
        return file


def make_environment(folder: Path) -> Path:
    """A virtual environment without pip; gives where its packages go."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    return site_packages(folder)


def site_packages(environment: Path) -> Path:
    """Where the packages of a virtual environment are."""
    (found,) = environment.glob("lib/python3.*/site-packages")
    return found
