"""What the processes of a `vermeil up` hold in memory while it works: sampled, and judged flat or not."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
import psutil

_MIB = 2**20
SETTLED = 0.4
"""Share of a process's samples that is left out at the beginning: caches and the allocator fill."""
FLAT_MIB = 24.0
"""Growth from there to the end that counts as flat; more only if it is within 5 % of the whole."""


@dataclass
class Series:
    """One process."""

    seconds: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def verdict(self) -> dict[str, float | bool]:
        """Slope by least squares over the settled part, and what it comes to until the end."""
        first = int(len(self.mib) * SETTLED)
        seconds, mib = np.array(self.seconds[first:]), np.array(self.mib[first:])
        if len(mib) < 3:
            return {"samples": len(self.mib)}
        slope = float(np.polyfit(seconds, mib, 1)[0])
        growth = slope * float(seconds[-1] - seconds[0])
        return {
            "samples": len(self.mib),
            "mean_mib": round(float(mib.mean()), 1),
            "lowest_mib": round(float(mib.min()), 1),
            "highest_mib": round(float(mib.max()), 1),
            "slope_mib_per_hour": round(slope * 3600, 2),
            "growth_mib": round(growth, 2),
            "is_flat": growth < max(FLAT_MIB, 0.05 * float(mib.mean())),
        }


class Memory:
    """Samples the resident size of every process of one `vermeil up`, once in `every` seconds.

    A process that is replaced begins a new series: "generator 1", "generator 2". The worker's is that of
    its whole tree, since jobs come and go.
    """

    def __init__(self, up_pid: int, every: float) -> None:
        self._up = psutil.Process(up_pid)
        self._every = every
        self._began = time.time()
        self._names: dict[int, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory")
        self.series: dict[str, Series] = {}

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        self._look()
        while not self._over.wait(self._every):
            self._look()
        self._look()  # at whoever came last, however short that was before the end

    def _look(self) -> None:
        now = time.time() - self._began
        self._note("services", self._up, now)
        for child in self._up.children():
            try:
                role = role_of(child)
                self._note(role, child, now, with_children=role == "worker")
            except psutil.NoSuchProcess:
                continue

    def _note(self, role: str, process: psutil.Process, now: float, *, with_children: bool = False) -> None:
        tree = [process, *(process.children(recursive=True) if with_children else ())]
        held = sum(each.memory_info().rss for each in tree) / _MIB
        name = self._names.get(process.pid)
        if name is None:
            number = sum(each.startswith(role) for each in self._names.values()) + 1
            name = self._names[process.pid] = f"{role} {number}"
        series = self.series.setdefault(name, Series())
        series.seconds.append(round(now, 1))
        series.mib.append(round(held, 1))


def role_of(process: psutil.Process) -> str:
    """ "generator", "worker" or "demo"."""
    module = next((part for part in process.cmdline() if part.startswith("vermeil_local.")), "other")
    return module.removeprefix("vermeil_local.")


def generator_of(up_pid: int) -> psutil.Process:
    """The process that computes answers."""
    return next(each for each in psutil.Process(up_pid).children() if role_of(each) == "generator")
