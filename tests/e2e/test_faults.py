"""A worker that is killed loses nothing; a job that is cancelled stops at once."""

import os
import random
import signal
import time

import pytest
from vermeil_client import Vermeil
from vermeil_errors import Cancelled
from vermeil_local.testing import Installation, small_recipe

_STEPS = 400


def _worker(vermeil: Installation) -> int:
    ready = vermeil.home / "worker.ready"
    for _ in range(600):
        if ready.exists() and (text := ready.read_text()).isdigit():
            try:
                os.kill(int(text), 0)
            except ProcessLookupError:
                pass
            else:
                return int(text)
        time.sleep(0.1)
    raise AssertionError("no worker")


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
        os.kill(_worker(vermeil), signal.SIGKILL)
        done = client.wait(job.name)
    assert done.raw["attempt"] == 2
    assert done.outputs["model"] == undisturbed


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
