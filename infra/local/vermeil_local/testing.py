"""A whole Vermeil on a home of its own, for end-to-end tests: started and stopped as a user does it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vermeil_client import Vermeil

_WORDS = ("river", "stone", "light", "garden", "winter", "letter", "mountain", "music", "window", "harbour")


@dataclass(frozen=True)
class Installation:
    """A Vermeil and how to call it."""

    home: Path
    """Its VERMEIL_HOME."""
    environment: dict[str, str]
    """Variables its processes run with."""
    url: str
    """Where its gateway answers."""
    address: str
    """Where its services answer (gRPC)."""

    def command(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `vermeil …` and wait for it."""
        done = subprocess.run(
            [sys.executable, "-m", "vermeil_client", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}\n{self.logs()}"
        return done

    def client(self) -> Vermeil:
        """The SDK, connected."""
        return Vermeil(self.url)

    def logs(self) -> str:
        """The last lines of its log files."""
        files = sorted((self.home / "logs").glob("*"))
        return "\n".join(f"── {path.name}\n{path.read_text()[-4000:]}" for path in files)


@contextmanager
def installation(home: Path, **variables: str) -> Iterator[Installation]:
    """Start `vermeil up --detach` on `home` and free ports; `vermeil down` at the end."""
    with ExitStack() as stack:
        http, address, demo = (stack.enter_context(_free_address()) for _ in range(3))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VERMEIL_")},
            "VERMEIL_HOME": str(home),
            "VERMEIL_HTTP_BIND": http,
            "VERMEIL_BIND": address,
            "VERMEIL_DEMO": "false",
            "VERMEIL_DEMO_BIND": demo,
            "VERMEIL_READY_SECONDS": "200",
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        made = Installation(home, environment, f"http://{http}", address)
        try:
            made.command("up", "--detach")
            yield made
        finally:
            made.command("down")


@contextmanager
def _free_address() -> Iterator[str]:
    """An address for a server; inside the block nobody is given it who takes any port."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, for whom it is free
        keeper.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{keeper.getsockname()[1]}"


def small_recipe(dataset: str, name: str, steps: int) -> dict[str, Any]:
    """A recipe that trains in seconds and gives the same bytes every time."""
    return {
        "name": name,
        "model": {"depth": 2, "width": 32, "num_heads": 2, "context_length": 64},
        "data": {"dataset": f"datasets/{dataset}", "tokenizer": {"kind": "byte"}},
        "run": {"steps": steps, "batch_size": 4, "checkpoint_every": 10, "precision": "fp32"},
    }


def small_image_recipe(dataset: str, name: str, steps: int) -> dict[str, Any]:
    """A recipe for a model that draws grey pictures of 8 × 8 pixels by class, trained in seconds."""
    return {
        "name": name,
        "task": "image",
        "model": {"depth": 2, "width": 32, "num_heads": 2},
        "image": {"image_height": 8, "image_width": 8, "channels": 1, "patch_size": 4, "condition": "class"},
        "data": {"dataset": f"datasets/{dataset}"},
        "run": {"steps": steps, "batch_size": 8, "evaluate_batches": 1, "precision": "fp32"},
    }


def write_words(folder: Path, num_files: int = 40) -> None:
    """Text files by formula: words that follow one another by rule, so that a model can learn them."""
    for number in range(num_files):
        words = [_WORDS[(number * 7 + place * place) % len(_WORDS)] for place in range(200)]
        (folder / f"{number:02}.txt").write_text(" ".join(words) + ".\n")
