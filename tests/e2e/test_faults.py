"""A worker that is killed loses nothing; a job that is cancelled stops at once."""

import os
import random
import signal
import time

import pytest
from vermeil_client import Vermeil
from vermeil_errors import Cancelled
from vermeil_local.testing import Installation, small_recipe
from vermeil_training import read_metrics

_STEPS = 400
_TIMES = {"seconds", "cpu_seconds", "tokens_per_second", "mfu"}


def _worker(vermeil: Installation) -> int:
    ready = vermeil.home / "worker.ready"
    for _ in range(2400):
        if ready.exists() and (text := ready.read_text()).isdigit():
            try:
                os.kill(int(text), 0)
            except ProcessLookupError:
                pass
            else:
                return int(text)
        time.sleep(0.1)
    raise AssertionError("no worker")


def _kill_worker(vermeil: Installation) -> None:
    """It is over when another one is there."""
    killed = _worker(vermeil)
    os.kill(killed, signal.SIGKILL)
    end = time.monotonic() + 240
    while _worker(vermeil) == killed:
        assert time.monotonic() < end, "the worker is not replaced"
        time.sleep(0.1)


def _wait_for_step(client: Vermeil, name: str, step: int) -> None:
    for job in client.watch(name):
        if job.done >= step or job.finished:
            return


@pytest.fixture(scope="module")
def undisturbed(vermeil: Installation, dataset: str) -> str:
    """Digest of the model that a run without faults gives."""
    with vermeil.client() as client:
        job = client.wait(client.train(small_recipe(dataset, "steady", _STEPS)).name)
    return job.outputs["model"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_worker_is_replaced_and_the_weights_are_the_same_to_the_bit(
    vermeil: Installation, dataset: str, undisturbed: str, seed: int
) -> None:
    step = random.Random(seed).randrange(20, _STEPS * 3 // 4)
    with vermeil.client() as client:
        job = client.train(small_recipe(dataset, "steady", _STEPS))
        _wait_for_step(client, job.name, step)
        _kill_worker(vermeil)
        done = client.wait(job.name)
    assert done.outputs["model"] == undisturbed


@pytest.mark.slow
def test_a_training_whose_worker_is_killed_goes_on_as_if_nothing_had_happened(
    vermeil: Installation, dataset: str
) -> None:
    recipe = small_recipe(dataset, "endless", 1_000_000)  # it cannot be over before the worker is killed
    recipe["run"]["log_every"] = 1
    with vermeil.client() as client:
        job = client.train(recipe)
        _wait_for_step(client, job.name, 25)
        _kill_worker(vermeil)
        assert any(now.raw.get("attempt") == 2 for now in client.watch(job.name))
        last = _log(vermeil, job.name)[-1]["step"] + 20
        found = _log_until(vermeil, job.name, last)
        client.cancel(job.name)
        other = client.train(recipe)
        expected = _log_until(vermeil, other.name, last)
        client.cancel(other.name)
    assert found == expected


def _log(vermeil: Installation, job: str) -> list[dict[str, float]]:
    """The log of a training under way, without what a clock has a say in."""
    folder = vermeil.home / job / "run"
    return [{name: line[name] for name in line.keys() - _TIMES} for line in read_metrics(folder)]


def _log_until(vermeil: Installation, job: str, step: int) -> list[dict[str, float]]:
    """All that is told of the first steps, once there is a line of a later one."""
    end = time.monotonic() + 240
    while True:
        lines = _log(vermeil, job)
        found = [line for line in lines if line["step"] <= step]
        if len(found) < len(lines):
            return found
        assert time.monotonic() < end, f"{job} does not come to step {step}"
        time.sleep(0.1)


def test_a_cancelled_training_stops(vermeil: Installation, dataset: str) -> None:
    with vermeil.client() as client:
        job = client.train(small_recipe(dataset, "endless", 1_000_000))
        _wait_for_step(client, job.name, 5)
        client.cancel(job.name)
        with pytest.raises(Cancelled):
            client.wait(job.name)


@pytest.mark.slow
def test_a_restart_takes_a_training_up_where_it_was(
    vermeil: Installation, dataset: str, undisturbed: str
) -> None:
    with vermeil.client() as client:
        job = client.train(small_recipe(dataset, "steady", _STEPS))
        _wait_for_step(client, job.name, 100)
    vermeil.command("down")
    vermeil.command("up", "--detach")
    with vermeil.client() as client:
        done = client.wait(job.name)
    assert done.raw["attempt"] == 1, "a drained worker gives its job back unharmed"
    assert done.outputs["model"] == undisturbed
