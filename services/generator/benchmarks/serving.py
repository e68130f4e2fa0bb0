"""What serving adds to decoding: the same prompts straight from the model, through an engine, over gRPC.

32 greedy answers at once, equally long, to prompts of 17 to 48 tokens, from a GPT of 10.7 M parameters with
random weights (6 layers × 384, context 256). A server does all three in one process, with the same weights,
and they take turns. A decode step is what an answer of `--tokens` takes longer than one of a quarter, by the
steps between them: what a request costs before its first token is in the tokens a second, and not in a step.
`--lengths mixed` lets prompts and answers differ in length, so that sequences come and go; then there are no
steps to tell.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import psutil
import torch
from vermeil.generation.v1.generation_pb2 import Sampling, TokenIds
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil_artifacts import LocalStore
from vermeil_data import TokenizerSpec, train_tokenizer
from vermeil_data.chat import SPECIAL_TOKENS
from vermeil_generator.api import GenerationServicer
from vermeil_generator.ask import Ask
from vermeil_generator.ask import Sampling as OwnSampling
from vermeil_generator.ask import TokenIds as OwnTokenIds
from vermeil_generator.device import precision
from vermeil_generator.fakes import FakeNames
from vermeil_generator.loaded_text import LoadedTextModel
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.wiring import build
from vermeil_model import (
    Decoder,
    ModelConfig,
    Request,
    SamplingParameters,
    TextModel,
    save_checkpoint,
)
from vermeil_rpc import connect_async, serve
from vermeil_rpc.testing import local_settings

mpl.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results"
MODEL = "models/bench/versions/1"
STREAMS = 32
WAYS = ("model alone", "engine", "gRPC")


Way = Callable[[list["Task"]], Awaitable[None]]


class Task(NamedTuple):
    """One prompt and how many tokens to say."""

    ids: list[int]
    num_tokens: int


class Round(NamedTuple):
    """One way in one round."""

    seconds: float
    cpu_seconds: float
    """Of the process that decodes."""
    loop_seconds: float
    """CPU of its event loop's thread: what is done for serving alone."""
    step_seconds: float
    """Of a decode step of all streams."""


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=15, help="rounds over all ways, at least 5")
    arguments.add_argument("--tokens", type=int, default=128, help="tokens of an answer, on average")
    arguments.add_argument("--lengths", choices=("equal", "mixed"), default="equal")
    chosen = arguments.parse_args()
    tasks = _tasks(chosen.tokens, mixed=chosen.lengths == "mixed")
    short = [] if chosen.lengths == "mixed" else _tasks(chosen.tokens // 4, mixed=False)
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder))
        processes = multiprocessing.get_context("spawn")
        ours, theirs = processes.Pipe()
        server = processes.Process(target=_serve, args=(folder, theirs), daemon=True)
        server.start()
        address: str = ours.recv()
        assert server.pid is not None
        try:
            rounds = asyncio.run(
                _measured(address, psutil.Process(server.pid), ours, (tasks, short), chosen.repeats)
            )
        finally:
            server.terminate()
    _report(rounds, sum(task.num_tokens for task in tasks), chosen.lengths)


def _tasks(num_tokens: int, *, mixed: bool) -> list[Task]:
    draw = random.Random(0)
    count = 2 * STREAMS if mixed else STREAMS
    lengths = [(draw.randint(4, 96), draw.randint(8, 2 * num_tokens - 8)) for _ in range(count)]
    if not mixed:
        lengths = [(17 + index, num_tokens) for index in range(count)]
    return [Task([draw.randrange(256) for _ in range(prompt)], answer) for prompt, answer in lengths]


def _write_model(folder: Path) -> None:
    tokenizer = train_tokenizer(["x"], TokenizerSpec("byte"))
    tokenizer.save(folder)
    config = ModelConfig.from_depth(6, tokenizer.vocab_size, context_length=256)
    model = TextModel(config)
    model.init_weights(torch.Generator().manual_seed(0))
    save_checkpoint(folder, model.to(torch.bfloat16))


def _serve(folder: str, told: Connection) -> None:
    """A generator that also does without gRPC what it is told: the three ways share process and weights."""

    async def live() -> None:
        store = LocalStore(Path(folder) / "artifacts")
        only = Path(folder) / "model"
        only.mkdir()
        for file in Path(folder).glob("*.*"):
            (only / file.name).write_bytes(file.read_bytes())
        names = FakeNames()
        names.add(MODEL, store.publish(only, kind="model"))
        services = build(_settings(), names=names, store=store)
        server = await serve(services, "127.0.0.1:0", local_settings())
        told.send(server.address)
        servicer = services[0].servicer
        assert isinstance(servicer, GenerationServicer)
        async with servicer._models.using(MODEL) as model:
            assert isinstance(model, LoadedTextModel)
            decoder = Decoder(model.packed, num_slots=STREAMS)
            while True:
                way, tasks = await asyncio.to_thread(told.recv)
                if way == "engine":
                    await asyncio.gather(*(_answer(model, task) for task in tasks))
                else:
                    await asyncio.to_thread(_decode, decoder, tasks)
                told.send(None)

    asyncio.run(live())


def _settings() -> GeneratorSettings:
    """Nothing is kept of a prompt, so that each round reads it again."""
    return GeneratorSettings.model_construct(generator_slots=STREAMS, generator_kept_bytes=0)


async def _measured(
    address: str, server: psutil.Process, told: Connection, both: tuple[list[Task], list[Task]], repeats: int
) -> dict[str, list[Round]]:
    channel = connect_async(address)

    def inside(way: str) -> Way:
        async def ask(tasks: list[Task]) -> None:
            told.send((way, tasks))
            await asyncio.to_thread(told.recv)

        return ask

    async def remote(tasks: list[Task]) -> None:
        await asyncio.gather(*(_ask(channel, task) for task in tasks))

    ways: dict[str, Way] = {
        "model alone": inside("model alone"),
        "engine": inside("engine"),
        "gRPC": remote,
    }
    rounds: dict[str, list[Round]] = {name: [] for name in WAYS}
    for number in range(repeats + 1):
        for name, way in ways.items():
            found = await _round(way, server, *both)
            if number:  # the first warms up
                rounds[name].append(found)
    await channel.close(None)
    return rounds


async def _round(way: Way, process: psutil.Process, tasks: list[Task], short: list[Task]) -> Round:
    before, began = _cpu(process), time.perf_counter()
    await way(tasks)
    seconds, after = time.perf_counter() - began, _cpu(process)
    steps = tasks[0].num_tokens - short[0].num_tokens if short else 0
    began = time.perf_counter()
    await way(short)
    step = (seconds - (time.perf_counter() - began)) / steps if steps else 0.0
    return Round(seconds, after[0] - before[0], after[1] - before[1], step)


def _cpu(process: psutil.Process) -> tuple[float, float]:
    """Seconds of all threads, and of the first, where the event loop runs."""
    threads = {each.id: each.user_time + each.system_time for each in process.threads()}
    return sum(threads.values()), threads[process.pid]


def _decode(decoder: Decoder, tasks: list[Task]) -> None:
    waiting = [
        Request(task.ids, SamplingParameters(temperature=0, max_tokens=task.num_tokens, logit_bias=_bias()))
        for task in tasks
    ]
    while waiting or decoder.sequences:
        arriving, waiting = waiting[: decoder.num_free], waiting[decoder.num_free :]
        decoder.add(arriving)
        decoder.step()


def _bias() -> dict[int, float]:
    """Against the special tokens: nobody ends early."""
    return dict.fromkeys(range(256, 256 + len(SPECIAL_TOKENS)), -100.0)


async def _answer(model: LoadedTextModel, task: Task) -> None:
    sampling = OwnSampling(temperature=0, max_tokens=task.num_tokens, logit_bias=_bias())
    question = model.prepare(Ask(MODEL, OwnTokenIds(tuple(task.ids)), sampling))
    async for _ in model.answer(question):
        pass


async def _ask(channel: object, task: Task) -> None:
    sampling = Sampling(temperature=0, max_tokens=task.num_tokens, logit_bias=_bias())
    request = GenerateRequest(model=MODEL, tokens=TokenIds(ids=task.ids), sampling=sampling)
    async for _ in GenerationServiceStub(channel).Generate(request, timeout=600):  # type: ignore[call-overload]
        pass


def _report(rounds: dict[str, list[Round]], num_tokens: int, lengths: str) -> None:
    table = {}
    alone = rounds["model alone"]
    for name, values in rounds.items():
        rates = [num_tokens / each.seconds for each in values]
        added = [each.seconds / base.seconds - 1 for each, base in zip(values, alone, strict=True)]
        table[name] = {
            "tokens a second": round(statistics.median(rates)),
            "lowest": round(min(rates)),
            "highest": round(max(rates)),
            "added": round(statistics.median(added), 4),
            "ms a step": round(statistics.median(each.step_seconds for each in values) * 1e3, 3),
            "added to a step": _added_to_a_step(values, alone),
            "CPU ms a token": _milliseconds([each.cpu_seconds for each in values], num_tokens),
            "event loop ms a token": _milliseconds([each.loop_seconds for each in values], num_tokens),
        }
        print(
            f"{name:<12} {table[name]['tokens a second']:>7} tok/s "
            f"({table[name]['lowest']} – {table[name]['highest']})  added {table[name]['added']:+.1%}  "
            f"step {table[name]['ms a step']} ms, added {table[name]['added to a step']:+.1%}  "
            f"CPU {table[name]['CPU ms a token']:.3f} ms a token, "
            f"the event loop's {table[name]['event loop ms a token']:.3f}"
        )
    RESULTS.mkdir(exist_ok=True)
    found = {
        "ways": table,
        "streams": STREAMS,
        "lengths": lengths,
        "tokens": num_tokens,
        "rounds": len(alone),
        "bar": "serving adds at most 0.03 to a decode step at 32 streams",
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "threads": torch.get_num_threads(),
            "precision": str(precision(_settings()) or torch.bfloat16),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "grpcio", "protobuf")},
        },
    }
    (RESULTS / f"serving-{lengths}.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    for name, values in rounds.items():
        axes.plot([num_tokens / each.seconds for each in values], [name] * len(values), "o", alpha=0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"tokens a second, {STREAMS} streams, {lengths} lengths (each dot: one round)")
    figure.savefig(RESULTS / f"serving-{lengths}.png", dpi=120)


def _added_to_a_step(values: list[Round], alone: list[Round]) -> float:
    pairs = [(each.step_seconds, base.step_seconds) for each, base in zip(values, alone, strict=True)]
    return round(statistics.median(ours / base - 1 if base else 0.0 for ours, base in pairs), 4)


def _milliseconds(seconds: list[float], num_tokens: int) -> float:
    return round(statistics.median(seconds) / num_tokens * 1e3, 4)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
