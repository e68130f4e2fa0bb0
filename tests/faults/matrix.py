"""Every fault strikes every component while something is ingested, trained, evaluated and served.

One run is a fault and a seed, which fixes how far the ride is when it strikes, and the length. Each appends a
line to results/matrix.jsonl; what is there is not run again, unless it struck nothing or was broken.
`--table` only prints what was found last.

    python tests/faults/matrix.py --seeds 3 --only worker:kill database: --broker redis --store ceph
"""

import argparse
import json
import random
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployment import BrokerKind, Deployment, StoreKind
from faults import Fault, every_fault
from ride import NAME, STEPS, Ride, answer, answer_at_once, write_corpus
from table import table
from talk import Talk
from verdict import Before, attempts, num_running, wrongs_of_artifacts, wrongs_of_jobs, wrongs_of_talks

_LONGEST_RIDE = 300.0
_RECOVERY_SECONDS = 120.0
_SHORTEST, _LONGEST = 4.0, 14.0
"""Seconds that a fault lasts."""
_TALK_BEFORE = 3.0
"""Seconds between the first question of the talks and the ride."""
_NOTHING, _BROKEN = "struck nothing", "broken"
_TRIES = 3
"""Of a run that strikes nothing, each at another moment."""


@dataclass
class Run:
    """What is written of one run."""

    fault: str
    seed: int
    broker: str
    store: str
    outcome: str = ""
    """kept; failed honestly: a job said that there was no space, and the next one was done; broken; struck
    nothing: the ride was over, or no worker had any more work of it, so that it proves nothing and is run
    again."""
    wrong: list[str] = field(default_factory=list)
    """What was not kept."""
    struck_at: str = ""
    """The step, and the share of its length that had passed: "train 0.60"; empty where nothing was struck."""
    struck_after: float = 0.0
    """Seconds from the beginning of the ride."""
    lasted: float = 0.0
    recovered: float = 0.0
    """Seconds from the fault's end until both talks had an answer to a question asked after it."""
    steps: dict[str, float] = field(default_factory=dict)
    attempts: list[int] = field(default_factory=list)
    refused: int = 0
    """Times that the client of the ride was told to come again."""
    failed_honestly: list[str] = field(default_factory=list)
    artifacts: int = 0
    asked: int = 0
    answered: int = 0
    told_to_retry: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    """Seconds that any question took, be it to an answer or a refusal."""
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class Stand:
    """A deployment that has a model to talk with, for any number of runs."""

    def __init__(self, broker: BrokerKind, store: StoreKind, *, with_disks: bool) -> None:
        self.house = Deployment(broker, store, with_disks=with_disks)
        self._lengths = [float("inf")] * len(STEPS)
        try:
            self.house.wait()
            self._warm_up()
        except BaseException:
            self.close()
            raise

    def _warm_up(self) -> None:
        """A ride without a fault, which makes the model to talk with."""
        ride = Ride("warm")
        with self.house.client() as client:
            ride.go(client, self._corpus(ride.id))
        self.expected = ride.answer
        self._learn(ride)

    def _learn(self, ride: Ride) -> None:
        """Keep the least that each step took: the moments of faults are shares of it."""
        for step, length in enumerate(ride.lengths):
            self._lengths[step] = min(length, self._lengths[step])

    def run(self, fault: Fault, seed: int, num_misses: int) -> Run:
        """One ride with the fault in it, and the verdict; another moment after each miss."""
        chance = random.Random(f"{fault.name} {seed} {num_misses}")
        moment = chance.uniform(0, len(STEPS) - 1)  # the last one is over in a moment
        step, share = int(moment), moment % 1
        run = Run(fault.name, seed, self.house.broker_kind, self.house.store_kind)
        run.lasted = round(chance.uniform(_SHORTEST, _LONGEST), 1)
        ride, before = Ride(f"{fault.name}-{seed}-{time.time_ns()}".replace(":", "-")), Before.of(self.house)
        corpus = self._corpus(ride.id)
        talks = [Talk(ask, self.house.url, f"{NAME}@1", self.expected) for ask in (answer, answer_at_once)]
        thread = threading.Timer(_TALK_BEFORE, self._ride, (ride, corpus, run))
        thread.daemon = True
        with ExitStack() as talking:
            for talk in talks:
                talking.enter_context(talk)
            thread.start()
            ride.reach(step, _TALK_BEFORE + _LONGEST_RIDE)
            ride.reach(step + 1, share * self._lengths[step])
            if self._may_strike(fault, ride, before):
                run.struck_at = f"{STEPS[ride.at]} {share if ride.at == step else 0:.2f}"
                self._strike(fault, run, ride)
                run.recovered = _recovery(talks, run)
            thread.join(_LONGEST_RIDE)
        if thread.is_alive():
            run.wrong.append(f"the ride hangs after {', '.join(ride.steps) or 'nothing'}")
        if not all(talk.ends_within(60) for talk in talks):
            run.wrong.append("an answer hangs")
        self._judge(run, ride, before, talks)
        self._learn(ride)
        return run

    def _may_strike(self, fault: Fault, ride: Ride, before: Before) -> bool:
        """Between two jobs of the ride a worker is waited for until it has the next one."""
        if fault.component != "worker":
            return not ride.is_over
        return ride.reach_work(lambda: num_running(self.house, before) > 0, _LONGEST_RIDE)

    def _strike(self, fault: Fault, run: Run, ride: Ride) -> None:
        run.struck_after = round(time.monotonic() - ride.began, 1)
        fault.begin(self.house)
        try:
            time.sleep(run.lasted)
        finally:
            fault.end(self.house)

    def _ride(self, ride: Ride, corpus: Path, run: Run) -> None:
        try:
            with self.house.client() as client:
                ride.go(client, corpus)
        except Exception as error:
            reason = getattr(error, "reason", type(error).__name__)
            run.wrong.append(f"the ride ended after {', '.join(ride.steps) or 'nothing'}: {reason}: {error}")
        finally:
            ride.end()

    def _judge(self, run: Run, ride: Ride, before: Before, talks: Sequence[Talk]) -> None:
        run.artifacts, wrong = wrongs_of_artifacts(self.house, before)
        run.wrong += [*wrongs_of_jobs(self.house, before, ride), *wrong, *wrongs_of_talks(talks)]
        run.steps, run.attempts = ride.steps, attempts(self.house, before)
        run.refused, run.failed_honestly = len(ride.refused), ride.failed_honestly
        run.asked, run.answered = sum(t.num_asked for t in talks), sum(t.num_answered for t in talks)
        run.told_to_retry = dict(sum((t.refused for t in talks[1:]), talks[0].refused))
        run.slowest = round(max(t.slowest for t in talks), 1)
        run.outcome = _outcome(run)

    def _corpus(self, name: str) -> Path:
        folder = self.house.folder / f"corpus-{name}"
        write_corpus(folder, name)
        return folder

    def close(self) -> None:
        """End it."""
        self.house.close()


def _outcome(run: Run) -> str:
    if run.wrong:
        return _BROKEN
    if not run.struck_at:
        return _NOTHING
    return "failed honestly" if run.failed_honestly else "kept"


def _recovery(talks: Sequence[Talk], run: Run) -> float:
    """Seconds until everybody has an answer again."""
    ended = time.monotonic()
    while not all(talk.last_answer > ended for talk in talks):
        if time.monotonic() - ended > _RECOVERY_SECONDS:
            run.wrong.append(f"no answer within {_RECOVERY_SECONDS:.0f} s of the fault's end")
            break
        time.sleep(0.1)
    return round(time.monotonic() - ended, 1)


def _missing(options: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[tuple[Fault, int]]:
    again = (_NOTHING, _BROKEN)
    known = {
        (run["fault"], run["seed"], run["broker"], run["store"])
        for run in done
        if run["outcome"] not in again
    }
    every = every_fault()
    wanted = dict.fromkeys(name for each in options.only or [""] for name in every if name.startswith(each))
    for seed in range(1, options.seeds + 1):
        for name in wanted:
            place = (name, seed, options.broker, options.store)
            if _is_possible(every[name], options.broker, options.store) and place not in known:
                yield every[name], seed


def _is_possible(fault: Fault, broker: str, store: str) -> bool:
    """A folder cannot be killed or cut off; the Redis here writes nothing, Ceph's store is memory."""
    if fault.component == "store":
        return (fault.kind == "disk") == (store == "folder")
    return fault.name != "broker:disk" or broker == "rabbitmq"


def read(path: Path) -> list[dict[str, Any]]:
    """Runs so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; 1 if any run of now is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="seeds 1 to this")
    parser.add_argument(
        "--only", nargs="*", default=(), help="beginnings of names: worker:kill, store:; in this order"
    )
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis")
    parser.add_argument("--store", choices=("ceph", "folder"), default="folder")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "matrix.jsonl")
    parser.add_argument("--logs", type=Path, help="folder for the ends of the logs of broken runs")
    parser.add_argument("--table", action="store_true", help="only print the table")
    options = parser.parse_args(arguments)
    if options.table:
        sys.stdout.write(table(read(options.results)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # in order: disks are unmounted
    done = read(options.results)
    missing = list(_missing(options, done))
    misses = Counter((run["fault"], run["seed"]) for run in done if run["outcome"] == _NOTHING)
    waiting = deque((fault, seed, _TRIES) for fault, seed in missing)
    stand: Stand | None = None
    num_broken = 0
    try:
        while waiting:
            fault, seed, num_tries = waiting.popleft()
            if stand is None:
                with_disks = any(each.kind == "disk" for each, _ in missing)
                stand = Stand(options.broker, options.store, with_disks=with_disks)
            run = stand.run(fault, seed, misses[fault.name, seed])
            if run.outcome == _NOTHING:
                misses[fault.name, seed] += 1
                if num_tries > 1:
                    waiting.appendleft((fault, seed, num_tries - 1))
            with options.results.open("a") as file:
                file.write(json.dumps(asdict(run)) + "\n")
            sys.stdout.write(f"{datetime.now():%H:%M:%S} {json.dumps(asdict(run))}\n")
            sys.stdout.flush()
            if run.outcome == _BROKEN:
                num_broken += 1
                if options.logs:
                    name = f"{fault.name}-{seed}-{options.broker}-{options.store}.log"
                    (options.logs / name).write_text(stand.house.last_words())
                stand.close()  # the next one begins on sound ground
                stand = None
    finally:
        if stand is not None:
            stand.close()
    return 1 if num_broken else 0


if __name__ == "__main__":
    sys.exit(main())
