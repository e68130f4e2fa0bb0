"""What the server kit adds to a unary call: a bare grpc.aio server beside ours, in the same run.

Servers live in processes of their own and answer a 4 KiB text; rounds are interleaved, so that a
busy minute hits all alike. Take the ratios. CPU time is of server plus client, per call.

    .venv/bin/python libs/rpc/benchmarks/unary_latency.py
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import grpc
import matplotlib as mpl
import psutil
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil.encoder.v1.encoder_service_pb2_grpc import (
    EncoderServiceServicer,
    EncoderServiceStub,
    add_EncoderServiceServicer_to_server,
)
from vermeil_rpc import Service, connect, serve
from vermeil_rpc.testing import local_settings

RESULTS = Path(__file__).parent / "results"
REQUEST = EncodeRequest(texts=["x" * 4096])


class Encoder(EncoderServiceServicer):
    """Answers at once, so that only the way there and back is measured."""

    async def StartEncoding(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Never called here."""
        return None

    async def Encode(self, request: EncodeRequest, context: Any) -> EncodeResponse:  # noqa: ARG002, N802
        """An empty answer."""
        return EncodeResponse()


async def _bare() -> tuple[str, Any]:
    server = grpc.aio.server()
    add_EncoderServiceServicer_to_server(Encoder(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return f"127.0.0.1:{port}", server


async def _kit() -> tuple[str, Any]:
    service = Service("vermeil.encoder.v1.EncoderService", add_EncoderServiceServicer_to_server, Encoder())
    server = await serve([service], "127.0.0.1:0", local_settings())
    return server.address, server


def _live(start: Callable[[], Any], pipe: Any) -> None:
    async def live() -> None:
        address, _server = await start()
        pipe.send(address)
        await asyncio.Event().wait()

    asyncio.run(live())


@contextmanager
def _process(start: Callable[[], Any]) -> Iterator[tuple[str, psutil.Process]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_live, args=(start, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), psutil.Process(process.pid)
    finally:
        process.kill()
        process.join()


@dataclass
class Case:
    """One pair of server and client, and what each round of it took."""

    name: str
    stub: Any
    server: psutil.Process
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def round(self, calls: int) -> None:
        """Make `calls` calls one after another; note milliseconds and CPU microseconds a call."""
        before = process_time() + sum(self.server.cpu_times()[:2])
        seconds = []
        for _ in range(calls):
            started = perf_counter()
            self.stub.Encode(REQUEST, timeout=5)
            seconds.append(perf_counter() - started)
        cpu = process_time() + sum(self.server.cpu_times()[:2]) - before
        self.p50.append(statistics.median(seconds) * 1e3)
        self.p99.append(statistics.quantiles(seconds, n=100)[98] * 1e3)
        self.cpu.append(cpu / calls * 1e6)


def _measure(rounds: int, calls: int) -> list[Case]:
    with ExitStack() as stack:
        bare, bare_process = stack.enter_context(_process(_bare))
        kit, kit_process = stack.enter_context(_process(_kit))
        plain = {each: stack.enter_context(grpc.insecure_channel(each)) for each in (bare, kit)}
        ours = stack.enter_context(connect(kit))
        cases = [
            Case("bare server, bare client", EncoderServiceStub(plain[bare]), bare_process),
            Case("our server, bare client", EncoderServiceStub(plain[kit]), kit_process),
            Case("our server, our client", EncoderServiceStub(ours), kit_process),
        ]
        for case in cases:
            case.round(calls)
            case.p50.clear(), case.p99.clear(), case.cpu.clear()
        for _ in range(rounds):
            for case in cases:
                case.round(calls)
        return cases


def _summary(cases: list[Case], rounds: int, calls: int) -> dict[str, Any]:
    peer = cases[0]
    rows = []
    for case in cases:
        row: dict[str, Any] = {"case": case.name}
        for name in ("p50", "p99", "cpu"):
            values, reference = getattr(case, name), getattr(peer, name)
            row[name] = {
                "median": round(statistics.median(values), 4),
                "range": [round(min(values), 4), round(max(values), 4)],
                "ratio": round(statistics.median(a / b for a, b in zip(values, reference, strict=True)), 3),
            }
        rows.append(row)
    return {
        "benchmark": "unary call with a 4 KiB request over loopback",
        "units": {"p50": "ms", "p99": "ms", "cpu": "µs a call, server and client"},
        "rounds": rounds,
        "calls_per_round": calls,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
        "versions": {
            "python": platform.python_version(),
            **{each: version(each) for each in ("grpcio", "protobuf")},
        },
        "cases": rows,
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor()


def _plot(cases: list[Case], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    names = [case.name for case in cases]
    axes[0].boxplot([case.p50 for case in cases], orientation="horizontal", tick_labels=names)
    axes[0].set(title="p50 of a round", xlabel="ms", xlim=(0, None))
    axes[1].boxplot([case.cpu for case in cases], orientation="horizontal", tick_labels=["", "", ""])
    axes[1].set(title="CPU, server and client", xlabel="µs a call", xlim=(0, None))
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, print a table, write results/unary_latency.{json,png}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=500)
    arguments = parser.parse_args()
    cases = _measure(arguments.rounds, arguments.calls)
    summary = _summary(cases, arguments.rounds, arguments.calls)
    print(f"{'':28}{'p50 ms':>9}{'×':>7}{'p99 ms':>9}{'×':>7}{'CPU µs':>9}{'×':>7}")
    for row in summary["cases"]:
        cells = "".join(
            f"{row[name]['median']:9.3f}{row[name]['ratio']:7.2f}" for name in ("p50", "p99", "cpu")
        )
        print(f"{row['case']:28}{cells}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "unary_latency.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    _plot(cases, RESULTS / "unary_latency.png")


if __name__ == "__main__":
    main()
