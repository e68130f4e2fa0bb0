"""One `vermeil up` for each home, however the last one ended."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from vermeil_errors import Conflict, InvalidInput
from vermeil_local.home import Home, Running


def _hold(path: Path, ready: "multiprocessing.synchronize.Event") -> None:
    home = Home(path)
    with home.held():
        home.announce(Running(os.getpid(), "http://127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "unix:/g"))
        ready.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path: Path) -> "multiprocessing.process.BaseProcess":
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(120)
    yield process
    process.kill()
    process.join()


def test_a_second_holder_is_told_who_holds_the_home(tmp_path: Path, holder) -> None:
    with (
        pytest.raises(Conflict, match=f"process {holder.pid} at http://127.0.0.1:1.*vermeil down"),
        Home(tmp_path).held(),
    ):
        pass


def test_a_held_home_is_refused_before_anything_starts(tmp_path: Path, holder) -> None:
    with pytest.raises(Conflict, match="already runs"):
        Home(tmp_path).require_unheld()


def test_a_holder_that_is_killed_leaves_the_home_free(tmp_path: Path, holder) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    home = Home(tmp_path)
    assert home.running() is None
    with home.held():
        assert home.is_held()
    assert not home.is_held()


def test_a_running_vermeil_can_be_found(tmp_path: Path, holder) -> None:
    running = Home(tmp_path).running()
    assert running is not None
    assert (running.pid, running.url, running.address) == (holder.pid, "http://127.0.0.1:1", "127.0.0.1:2")


def test_a_vermeil_of_another_version_or_one_that_only_begins_can_be_stopped(tmp_path: Path, holder) -> None:
    endpoint = tmp_path / "endpoint.json"
    body = json.loads(endpoint.read_text())
    endpoint.write_text(json.dumps({"pid": body["pid"], "http": "http://127.0.0.1:1"}))
    assert Home(tmp_path).running() is None
    assert Home(tmp_path).holder() == holder.pid
    endpoint.unlink()
    assert Home(tmp_path).holder() == holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert Home(tmp_path).holder() is None


def test_an_untouched_home_runs_nothing(tmp_path: Path) -> None:
    assert Home(tmp_path / "new").running() is None


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="VERMEIL_HOME"), Home(tmp_path / "file").held():
        pass
