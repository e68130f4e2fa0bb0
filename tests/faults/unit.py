"""One process of ours, started again whenever it ends, as an orchestrator does it.

`python -m module`, forked from a server that has imported everything already: a start costs little, and what
is imported is in memory once.
"""

import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_IMPORTED = (
    "torch",
    "matplotlib.backends.backend_agg",
    "vermeil_model",
    "vermeil_training",
    "vermeil_trainer.train",
    "vermeil_trainer.learning",
    "vermeil_trainer.model_folder",
    "vermeil_evaluator.models.opening",
    "vermeil_trainer.tasks",
    "vermeil_ingest.tasks",
    "vermeil_evaluator.tasks",
    "vermeil_encoders_text.tasks",
    "vermeil_encoders_image.tasks",
    "vermeil_local.services",
    "vermeil_generator.wiring",
    "vermeil_gateway.wiring",
    "vermeil_jobs.worker",
)
PARENT = "{parent}"
"""An argument that stands for the id of the parent of the new process."""
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(list(_IMPORTED))


class Unit:
    """A module with arguments, an environment and a log of its own."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.num_starts = 0
        self._work = (tuple(command), dict(environment), log)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._is_wanted = False
        self._changing = threading.Lock()

    @property
    def pid(self) -> int:
        """Of the process that runs or ran last."""
        return (self._process and self._process.pid) or 0

    def start(self) -> None:
        """Start it, and again whenever `look_after` finds it gone."""
        self._is_wanted = True
        self.look_after()

    def look_after(self) -> None:
        """Start it if it should run and does not."""
        with self._changing:
            if not self._is_wanted or (self._process is not None and self._process.is_alive()):
                return
            self._process = _FORKING.Process(target=_run, args=self._work, name=self.name)
            self._process.start()
            self.num_starts += 1

    def kill(self) -> None:
        """End it with -9; it stays away until it is started."""
        with self._changing:  # whoever looks after it would start it in the middle
            self._is_wanted = False
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


def _run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """What the new process does."""
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    module, *arguments = command
    sys.argv = [module, *(str(os.getppid()) if each == PARENT else each for each in arguments)]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
