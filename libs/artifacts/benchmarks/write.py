"""Publishing and fetching 64 MB, hashed and verified, beside plain copies of the same file in the same run.

publish + fetch: one process; the hash is of the bytes read back from the store. Its peer is copyfile
with fsync of file and folder, because a publication is durable too. publish + fetch by another: a
store object that has never seen the file hashes it once more; its peer also copies the file back, as
one does without a store. Rounds alternate, each in a fresh folder. On a busy machine give it cores of
its own: chrt -f 1 python write.py [FOLDER]
"""

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from vermeil_artifacts import LocalStore

NUM_BYTES = 64 * 2**20
NUM_ROUNDS = 11
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Way:
    """One way to write the file."""

    name: str
    run: Callable[[Path, Path], None]
    """From the source folder into a fresh folder."""


def copy_durably(source: Path, target: Path) -> None:
    shutil.copyfile(source / "shard", target / "shard")
    for path in (target / "shard", target):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def copy_lazily(source: Path, target: Path) -> None:
    shutil.copyfile(source / "shard", target / "shard")


def publish_and_fetch(source: Path, target: Path) -> None:
    store = LocalStore(target)
    store.fetch(store.publish(source, kind="dataset"))


def publish_and_fetch_elsewhere(source: Path, target: Path) -> None:
    ref = LocalStore(target).publish(source, kind="dataset")
    LocalStore(target).fetch(ref)


def copy_there_and_back(source: Path, target: Path) -> None:
    copy_durably(source, target)
    shutil.copyfile(target / "shard", target / "fetched")


WAYS = (
    Way("copy + fsync", copy_durably),
    Way("publish + fetch", publish_and_fetch),
    Way("copy + fsync, copy back", copy_there_and_back),
    Way("publish + fetch by another", publish_and_fetch_elsewhere),
    Way("copy, no fsync", copy_lazily),
)
PEERS = {
    "publish + fetch": "copy + fsync",
    "publish + fetch by another": "copy + fsync, copy back",
}


def measure(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU seconds of each way and round."""
    source = folder / "source"
    source.mkdir()
    (source / "shard").write_bytes(os.urandom(NUM_BYTES))
    seconds: dict[str, dict[str, list[float]]] = {way.name: {"wall": [], "cpu": []} for way in WAYS}
    for round_ in range(NUM_ROUNDS + 1):
        for way in WAYS:
            target = folder / f"{round_}"
            target.mkdir()
            os.sync()
            wall, cpu = time.perf_counter(), time.process_time()
            way.run(source, target)
            if round_:  # the first round warms up
                seconds[way.name]["wall"].append(time.perf_counter() - wall)
                seconds[way.name]["cpu"].append(time.process_time() - cpu)
            shutil.rmtree(target)
    return seconds


def main() -> None:
    parent = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        seconds = measure(Path(folder))
    medians = {name: statistics.median(times["wall"]) for name, times in seconds.items()}
    ratios = {ours: medians[peer] / medians[ours] for ours, peer in PEERS.items()}
    print(f"{'way':26} {'MB/s median':>12} {'range':>16} {'CPU s':>8}")
    for name, times in seconds.items():
        rates = sorted(NUM_BYTES / 1e6 / second for second in times["wall"])
        cpu = statistics.median(times["cpu"])
        print(f"{name:26} {statistics.median(rates):12.0f} {rates[0]:8.0f}-{rates[-1]:<7.0f} {cpu:8.3f}")
    for ours, peer in PEERS.items():
        print(f"{ours} runs at {ratios[ours]:.2f} of the rate of {peer} (bar: 0.80)")
    RESULTS.mkdir(exist_ok=True)
    record = {
        "num_bytes": NUM_BYTES,
        "rounds": NUM_ROUNDS,
        "seconds": seconds,
        "ratios": ratios,
        "machine": machine(),
        "scheduling": "own cores (SCHED_FIFO)"
        if os.sched_getscheduler(0) == os.SCHED_FIFO
        else "shared cores",
        "load_average": os.getloadavg()[0],
        "versions": {"python": platform.python_version(), "vermeil-artifacts": version_or_source()},
    }
    (RESULTS / "write.json").write_text(json.dumps(record, indent=1) + "\n")
    plot(seconds, ratios)


def plot(seconds: dict[str, dict[str, list[float]]], ratios: dict[str, float]) -> None:
    figure, axes = plt.subplots(figsize=(8, 3))
    rates = [[NUM_BYTES / 1e6 / second for second in times["wall"]] for times in seconds.values()]
    axes.boxplot(rates, orientation="horizontal", tick_labels=list(seconds))
    axes.set_xscale("log")
    axes.set_xlabel("MB/s, 64 MB in one file")
    axes.set_title(
        "; ".join(f"{ours}: {ratio:.2f} of its peer" for ours, ratio in ratios.items()), fontsize=9
    )
    figure.tight_layout()
    figure.savefig(RESULTS / "write.png", dpi=100)


def machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "processor")
    return f"{model} ({platform.machine()}), {os.cpu_count()} cores, {platform.system()}"


def version_or_source() -> str:
    try:
        return version("vermeil-artifacts")
    except ModuleNotFoundError:
        return "source"


if __name__ == "__main__":
    main()
