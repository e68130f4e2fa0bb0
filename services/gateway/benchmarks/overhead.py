"""What the gateway adds to a direct gRPC call, beside what a bare FastAPI echo costs.

Three servers, each in a process of its own: fake services that answer at once, the gateway before
them, an echo. One client asks them in turn over kept-alive connections, one request at a time.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import platform
import socket
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import psutil
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil.job.v1.job_service_pb2 import GetJobRequest
from vermeil.job.v1.job_service_pb2_grpc import JobServiceStub
from vermeil.training.v1.recipe_pb2 import Recipe
from vermeil_gateway.fakes import MODEL, FakeBackends
from vermeil_gateway.testing import settings_for
from vermeil_gateway.wiring import start
from vermeil_rpc import connect, serve
from vermeil_rpc.testing import local_settings
from vermeil_telemetry import configure

mpl.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("fastapi", "starlette", "uvicorn", "grpcio", "protobuf", "pydantic", "httptools")
CHAT = json.dumps(
    {"model": "vermeil-nano", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
).encode()


ADDED = {"added to chat": ("chat, gateway", "generate, gRPC"), "added to job": ("job, gateway", "job, gRPC")}


class Round(NamedTuple):
    """Milliseconds a request in one round of one way."""

    median: float
    tenth: float
    """10th percentile: nearer to what a quiet machine takes."""
    cpu: float
    """CPU time of the gateway's process."""


class Echo(BaseModel):
    """What the bare echo takes and gives back."""

    model: str
    messages: list[dict[str, str]]
    max_tokens: int


def serve_fakes(port: int) -> None:
    """Fake services that answer in one piece."""

    async def live() -> None:
        backends = FakeBackends()
        backends.generation.words = ("Hello",)
        backends.jobs.start("vermeil.trainer.v1.train", Recipe(name="x"), "r")
        server = await serve(backends.services(), f"127.0.0.1:{port}", local_settings())
        await server.wait()

    asyncio.run(live())


def serve_gateway(port: int, services_port: int) -> None:
    """The gateway as in production: its logs are written."""
    configure("gateway", stream=Path("/dev/null").open("w"))  # noqa: SIM115 until the process ends

    async def live() -> None:
        await start(settings_for(f"127.0.0.1:{services_port}", http_bind=f"127.0.0.1:{port}"))
        await asyncio.Event().wait()

    asyncio.run(live())


def serve_echo(port: int) -> None:
    """The least that FastAPI can do with the same body."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(body: Echo) -> Echo:
        return body

    uvicorn.run(app, port=port, log_config=None, access_log=False, timeout_keep_alive=75)


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=9, help="rounds over all ways, at least 5")
    arguments.add_argument("--requests", type=int, default=200, help="requests of one way in one round")
    chosen = arguments.parse_args()
    services, gateway, echo = (_free_port() for _ in range(3))
    processes = multiprocessing.get_context("spawn")
    running = [
        processes.Process(target=serve_fakes, args=(services,), daemon=True),
        processes.Process(target=serve_gateway, args=(gateway, services), daemon=True),
        processes.Process(target=serve_echo, args=(echo,), daemon=True),
    ]
    for process in running:
        process.start()
    try:
        for port in (services, gateway, echo):
            _wait_for(port)
        measured = psutil.Process(running[1].pid)
        report(_measured(_ways(services, gateway, echo), measured, chosen.repeats, chosen.requests))
    finally:
        for process in running:
            process.terminate()


def _ways(services: int, gateway: int, echo: int) -> dict[str, Callable[[], object]]:
    channel = connect(f"127.0.0.1:{services}")
    generate = GenerationServiceStub(channel).Generate
    get_job = JobServiceStub(channel).GetJob
    door = http.client.HTTPConnection("127.0.0.1", gateway)
    bare = http.client.HTTPConnection("127.0.0.1", echo)
    headers = {"content-type": "application/json"}
    request = GenerateRequest(model=MODEL, prompt="Hello", num_choices=1)
    return {
        "generate, gRPC": lambda: list(generate(request, timeout=10)),
        "chat, gateway": lambda: _ask(door, "POST", "/v1/chat/completions", CHAT, headers),
        "job, gRPC": lambda: get_job(GetJobRequest(name="jobs/1"), timeout=10),
        "job, gateway": lambda: _ask(door, "GET", "/v1/jobs/1", None, {}),
        "FastAPI echo": lambda: _ask(bare, "POST", "/echo", CHAT, headers),
    }


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
) -> bytes:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text
    return text


def _measured(
    ways: dict[str, Callable[[], object]], gateway: psutil.Process, repeats: int, requests: int
) -> dict[str, list[Round]]:
    """Rounds of each way; the ways take turns."""
    for way in ways.values():
        for _ in range(50):
            way()
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times = []
            before = gateway.cpu_times()
            for _ in range(requests):
                began = time.perf_counter()
                way()
                times.append((time.perf_counter() - began) * 1000)
            after = gateway.cpu_times()
            spent = after.user + after.system - before.user - before.system
            tenth, median = statistics.quantiles(times, n=10)[0], statistics.median(times)
            rounds[name].append(Round(median, tenth, spent / requests * 1000))
    return rounds


def report(rounds: dict[str, list[Round]]) -> None:
    """Print a table; write JSON and a plot."""
    for added, (ours, direct) in ADDED.items():
        pairs = zip(rounds[ours], rounds[direct], strict=True)
        rounds[added] = [Round(*(x - y for x, y in zip(a, b, strict=True))) for a, b in pairs]
    print(f"{'ms a request':<16} {'median':>8}  {'(lowest – highest round)':<26} {'10th %':>8} {'CPU':>8}")
    table = {name: _summary(values) for name, values in rounds.items()}
    for name, row in table.items():
        spread = f"({row['lowest']:.2f} – {row['highest']:.2f})"
        print(f"{name:<16} {row['median']:8.2f}  {spread:<26} {row['tenth']:8.2f} {row['cpu']:8.2f}")
    RESULTS.mkdir(exist_ok=True)
    found = {
        "milliseconds a request": table,
        "columns": "median of rounds, their extremes, their 10th percentiles, CPU time of the gateway",
        "bar": dict.fromkeys(ADDED, 1.0),
        "machine": {
            "processor": _processor(),
            "cores": multiprocessing.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version(), **_versions()},
    }
    (RESULTS / "overhead.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    _draw(rounds)


def _summary(rounds: list[Round]) -> dict[str, float]:
    medians = [each.median for each in rounds]
    return {
        "median": round(statistics.median(medians), 3),
        "lowest": round(min(medians), 3),
        "highest": round(max(medians), 3),
        "tenth": round(statistics.median(each.tenth for each in rounds), 3),
        "cpu": round(statistics.median(each.cpu for each in rounds), 3),
        "rounds": len(rounds),
    }


def _draw(rounds: dict[str, list[Round]]) -> None:
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    names = list(rounds)[::-1]
    rows = [_summary(rounds[name]) for name in names]
    medians = [row["median"] for row in rows]
    spread = [
        [row["median"] - row["lowest"] for row in rows],
        [row["highest"] - row["median"] for row in rows],
    ]
    axes.barh(names, medians, xerr=spread, color=["#a33" if name in ADDED else "#888" for name in names])
    axes.plot([row["tenth"] for row in rows], names, "k|", label="10th percentile")
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("milliseconds a request (median of rounds; whiskers: lowest and highest round)")
    axes.legend()
    figure.savefig(RESULTS / "overhead.png", dpi=120)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


if __name__ == "__main__":
    main()
