"""Latency of an empty job: submitted by RPC, rung through the folder broker, done, seen by a watcher.

Beside it, in the same run and interleaved, a bare Celery task on kombu's own filesystem transport,
polling every 10 ms, with nothing around it: no row, no lease, no effect-once.

    python libs/jobs/benchmarks/latency.py
"""

import argparse
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
from celery import Celery
from google.protobuf.wrappers_pb2 import StringValue
from vermeil_errors import Unavailable
from vermeil_jobs import GrpcJobs, JobKind, JobOutcome, NewJob, Spec, make_app, register, run_worker
from vermeil_jobs.folder import POLLING_SECONDS

KIND = "vermeil.bench.v1.empty"
RESULTS = Path(__file__).parent / "results"
BAR_MILLISECONDS = 20.0
LOST: Counter[str] = Counter()
"""Messages whose worker died of them, and which were sent again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=100, help="in each repeat")
    parser.add_argument("--role", choices=["worker", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--registry", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "worker":
        work_on_jobs(arguments.home, arguments.registry)
    elif arguments.role == "bare":
        answer_bare_tasks(arguments.home)
    else:
        report(measure(arguments.repeats, arguments.jobs))


def work_on_jobs(home: Path, registry: str) -> None:
    app = make_app("filesystem://", home)
    kind = JobKind(
        KIND, "bench", StringValue, StringValue, lambda _request: None, lambda _c, _s: JobOutcome()
    )
    register(app, kind, GrpcJobs.connect(registry))
    sys.exit(run_worker(app, ["bench"]))


def answer_bare_tasks(home: Path) -> None:
    worker = bare_app(home).Worker(
        pool="threads", concurrency=2, queues=["bare"], quiet=True, loglevel="CRITICAL", without_gossip=True
    )
    worker.start()


def bare_app(home: Path) -> Celery:
    folders = {
        "data_folder_in": home / "bare",
        "data_folder_out": home / "bare",
        "control_folder": home / "control",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    options = {name: str(folder) for name, folder in folders.items()}
    app = Celery("bare", broker="filesystem://", set_as_current=False)
    app.conf.update(
        broker_transport_options={**options, "polling_interval": POLLING_SECONDS},
        task_ignore_result=True,
        worker_enable_remote_control=False,
        task_default_queue="bare",
    )
    answers = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @app.task(name="bare.answer")  # type: ignore[untyped-decorator]
    def answer(address: str) -> None:
        answers.sendto(b"done", address)

    return app


def measure(repeats: int, jobs: int) -> dict[str, list[list[float]]]:
    """Milliseconds of every job, by contender and repeat."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        registry = f"127.0.0.1:{free_port()}"
        environment = {"VERMEIL_HOME": str(home), "VERMEIL_BIND": registry, "VERMEIL_LOG_LEVEL": "WARNING"}
        stack.enter_context(process(["-m", "vermeil_registry"], environment))
        stack.enter_context(process([__file__, "--role", "worker", "--home", folder, "--registry", registry]))
        contenders = {"vermeil job": vermeil(registry), "bare Celery task": stack.enter_context(bare(home))}
        for once in contenders.values():
            for _ in range(20):
                once()
        return interleaved(contenders, repeats, jobs)


def interleaved(
    contenders: dict[str, Callable[[], float]], repeats: int, jobs: int
) -> dict[str, list[list[float]]]:
    samples: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, once in contenders.items():
            samples[name].append([arrival(once) for _ in range(jobs)])
    return samples


def arrival(once: Callable[[], float]) -> float:
    """One job at a moment of its own: jobs in lockstep with the polling would all see one phase of it."""
    time.sleep(random.uniform(0, 2 * POLLING_SECONDS))
    return 1000 * once()


def vermeil(registry: str) -> Callable[[], float]:
    jobs = GrpcJobs.connect(registry)
    spec = Spec.pack(StringValue())

    def once() -> float:
        start = time.perf_counter()
        job = jobs.create(NewJob(KIND, "bench", spec, uuid.uuid4().hex))
        *_, last = jobs.watch(job.name, timeout=30)
        assert last.state == "SUCCEEDED", last
        return time.perf_counter() - start

    wait_for(lambda: jobs.list_jobs(page_size=1))
    return once


@contextmanager
def bare(home: Path) -> Iterator[Callable[[], float]]:
    """Kombu's transport reads messages before they are written, and its worker dies of it: restart it."""
    app, command = bare_app(home), [sys.executable, __file__, "--role", "bare", "--home", str(home)]
    address = str(home / "answers")
    answers = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    answers.bind(address)
    answers.settimeout(0.5)
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL)]

    def once() -> float:
        while True:
            start = time.perf_counter()
            app.send_task("bare.answer", args=[address], queue="bare")
            while workers[-1].poll() is None:
                try:
                    answers.recv(16)
                except TimeoutError:
                    continue
                return time.perf_counter() - start
            LOST["bare Celery task"] += 1
            workers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    try:
        yield once
    finally:
        workers[-1].kill()
        workers[-1].wait()


def report(samples: dict[str, list[list[float]]]) -> None:
    rows = {name: summary(repeats) for name, repeats in samples.items()}
    print(f"{'':20} {'p50 ms':>8} {'range of p50':>16} {'p95':>8} {'p99':>8} {'lost':>5}")
    for name, row in rows.items():
        spread = f"{row['p50_min']:.1f}–{row['p50_max']:.1f}"
        print(f"{name:20} {row['p50']:8.1f} {spread:>16} {row['p95']:8.1f} {row['p99']:8.1f} {LOST[name]:5}")
    packages = ("celery", "kombu", "grpcio", "sqlalchemy")
    content = {
        "unit": "ms from submit to seen as done",
        "bar": {"vermeil job p50": BAR_MILLISECONDS},
        "polling_seconds": {"bare Celery task": POLLING_SECONDS, "vermeil job": "told by the system"},
        "machine": f"{os.cpu_count()} cores, {cpu_model()}",
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "results": {name: {**row, "num_lost_messages": LOST[name]} for name, row in rows.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latency.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    plot(samples)


def summary(repeats: list[list[float]]) -> dict[str, float]:
    medians = [statistics.median(repeat) for repeat in repeats]
    everything = statistics.quantiles([each for repeat in repeats for each in repeat], n=100)
    figures = {
        "p50": statistics.median(medians),
        "p50_min": min(medians),
        "p50_max": max(medians),
        "p95": everything[94],
        "p99": everything[98],
    }
    return {name: round(figure, 2) for name, figure in figures.items()}


def plot(samples: dict[str, list[list[float]]]) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for name, repeats in samples.items():
        values = sorted(each for repeat in repeats for each in repeat)
        axes.plot(values, [(i + 1) / len(values) for i in range(len(values))], label=name)
    axes.axvline(BAR_MILLISECONDS, color="grey", linestyle=":", label="bar for the median")
    axes.set(xlabel="ms from submit to done", ylabel="part of jobs", xlim=(0, 60), title="An empty local job")
    axes.legend()
    figure.savefig(RESULTS / "latency.png", dpi=120)


@contextmanager
def process(arguments: list[str], environment: dict[str, str] | None = None) -> Iterator[None]:
    started = subprocess.Popen([sys.executable, *arguments], env={**os.environ, **(environment or {})})
    try:
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)


def wait_for(call: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            call()
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


if __name__ == "__main__":
    main()
