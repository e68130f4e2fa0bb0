"""One ride through everything — ingest, train, evaluate, serve — by a client that asks again when told to.

Only errors that say so are asked again, under the same request id. A job that failed for want of space is
a clear answer: the work is asked for anew once there is space.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Condition
from typing import Any, TypeVar

from vermeil_client import Job, Vermeil
from vermeil_errors import DeadlineExceeded, OutOfSpace, VermeilError
from vermeil_local.testing import small_recipe, write_words

T = TypeVar("T")
NAME = "words"
PATIENCE = 150.0
"""Seconds for which a client asks again, from its first refusal on, before it calls that a failure."""
STEPS = ("ingest", "train", "evaluate", "serve")
"""In this order."""
_LOOK_SECONDS = 0.02
_NUM_UPDATES = 15
_TIMES = 4
_PROMPT = "river stone light"


def recipe() -> dict[str, Any]:
    """A model of two layers, trained in seconds."""
    made = small_recipe(NAME, NAME, _NUM_UPDATES)
    made["run"] |= {"evaluate_batches": 1}
    return made


def write_corpus(folder: Path, name: str) -> None:
    """Words of a formula, and a name, so that everything made of it is new to the store."""
    folder.mkdir()
    write_words(folder, num_files=12)
    (folder / "name.txt").write_text(f"This was written for {name}. " * 20)


def answer(client: Vermeil, model: str) -> str:
    """What a model always says to the same words; only whole answers come back."""
    text, reason = "", None
    for piece in client.chat(model, _PROMPT, temperature=0, max_tokens=6):
        text += piece.text
        reason = piece.finish_reason or reason
    if reason is None:
        raise AssertionError(f"the stream of {model} ended without a reason")
    return text


def answer_at_once(client: Vermeil, model: str) -> str:
    """The same without a stream."""
    turns = [{"role": "user", "content": _PROMPT}]
    body = {"model": model, "messages": turns, "temperature": 0, "max_tokens": 6}
    choice = client.transport.post("/v1/chat/completions", body)["choices"][0]
    if not choice["finish_reason"]:
        raise AssertionError(f"the answer of {model} ended without a reason")
    return str(choice["message"]["content"])


def again(ask: Callable[[], T], refused: list[str], full: list[str]) -> T:
    """Ask until there is an answer or an error that asking again will not mend; space comes back."""
    end = float("inf")
    while True:
        try:
            return ask()
        except OutOfSpace as error:
            if time.monotonic() > end:
                raise
            full.append(str(error))
        except VermeilError as error:
            if not may_be_asked_again(error) or time.monotonic() > end:
                raise
            refused.append(error.reason)
        end = min(end, time.monotonic() + PATIENCE)
        time.sleep(0.5)


def may_be_asked_again(error: VermeilError) -> bool:
    """Whether the error says so."""
    return error.retryable or isinstance(error, DeadlineExceeded)


@dataclass
class Ride:
    """What came of it."""

    id: str
    jobs: list[Job] = field(default_factory=list)
    """Those acknowledged, as they ended; of an encoding only its effect is seen."""
    failed_honestly: list[str] = field(default_factory=list)
    """What was refused or failed for want of space, and said so."""
    refused: list[str] = field(default_factory=list)
    """Reasons with which the client was told to come again."""
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds from the beginning to the end of each step."""
    answer: str = ""
    """Of the new model."""
    began: float = field(default_factory=time.monotonic)
    at: int = -1
    """Which of the steps it is at; -1 before it begins."""
    is_over: bool = False
    """Nothing of it is left to be struck."""
    _moved: Condition = field(default_factory=Condition)

    def reach(self, step: int, timeout: float) -> None:
        """Return once it has come to this step, or all is over."""
        with self._moved:
            self._moved.wait_for(lambda: self.is_over or self.at >= step, timeout)

    def reach_work(self, is_at_work: Callable[[], bool], timeout: float) -> bool:
        """Whether a worker has come to hold a job of it, before all was over."""
        end = time.monotonic() + timeout
        while not self.is_over and time.monotonic() < end:
            if is_at_work():
                return True
            time.sleep(_LOOK_SECONDS)
        return False

    @property
    def lengths(self) -> list[float]:
        """Seconds that each step took so far."""
        ends = list(self.steps.values())
        return [end - begin for begin, end in pairwise([0.0, *ends])]

    def end(self) -> None:
        """No more will be done."""
        with self._moved:
            self.is_over = True
            self._moved.notify_all()

    def go(self, client: Vermeil, corpus: Path) -> None:
        """All of it; raises what no asking again has mended."""
        self.began = time.monotonic()
        self._move(0)
        source = [{"uri": str(corpus)}]
        self._do("ingest", client, lambda request: client.ingest(NAME, source, request_id=request))
        trained = self._do("train", client, lambda request: client.train(recipe(), request_id=request))
        model = str(trained.result["model_version"])
        self._do("evaluate", client, lambda request: client.evaluate(model, request_id=request))
        number = model.rpartition("/")[2]
        self.answer = self._again(partial(answer, client, f"{NAME}@{number}"))
        self._note("serve")

    def _do(self, step: str, client: Vermeil, start: Callable[[str], Job]) -> Job:
        for number in range(_TIMES):
            request = f"{self.id}-{step}-{number}"
            name = self._again(partial(start, request)).name
            job = self._again(partial(self._ended, client, name))
            self.jobs.append(job)
            if job.error is not None and _found_no_space(job):
                self.failed_honestly.append(f"{step}: {job.error}")
                time.sleep(5)
                continue
            job.raise_for_state()
            self._note(step)
            return job
        raise AssertionError(f"{step} found no space {_TIMES} times")

    def _again(self, ask: Callable[[], T]) -> T:
        return again(ask, self.refused, self.failed_honestly)

    def _ended(self, client: Vermeil, name: str) -> Job:
        for job in client.watch(name):
            if job.finished:
                return job
        raise DeadlineExceeded(f"the watch of {name} ended before the job")

    def _note(self, step: str) -> None:
        self.steps[step] = round(time.monotonic() - self.began, 1)
        if step != STEPS[-1]:
            self._move(STEPS.index(step) + 1)

    def _move(self, step: int) -> None:
        with self._moved:
            self.at = step
            self._moved.notify_all()


def _found_no_space(job: Job) -> bool:
    """Itself, or the one before it, whose reason it tells on."""
    error = job.raw["error"]
    told_on = error["reason"] == "PREDECESSOR_FAILED" and f" {OutOfSpace.reason}: " in error["message"]
    return told_on or isinstance(job.error, OutOfSpace)
