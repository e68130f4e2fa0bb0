"""When a fault strikes: at a share of a step of the ride; and one that comes too late."""

import argparse
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vermeil_errors import Unavailable


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules beside this file, which are a script's."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == Path(__file__).parent:
            del sys.modules[name]


@pytest.mark.usefixtures("scripts")
def test_a_moment_comes_when_its_share_of_the_step_has_passed_or_the_step_is_over() -> None:
    import ride as rides

    ride = rides.Ride("test")
    ride._move(1)
    ride.reach(1, timeout=60)
    ride.reach(2, timeout=0.01)
    assert rides.STEPS[ride.at] == "train", "the share has passed within the step"
    threading.Timer(0.05, ride._note, ["train"]).start()
    ride.reach(2, timeout=60)
    assert rides.STEPS[ride.at] == "evaluate", "a quicker step than usual is struck at its end"


@pytest.mark.usefixtures("scripts")
def test_shares_are_of_the_least_that_a_step_has_taken() -> None:
    import matrix
    import ride as rides

    stand = matrix.Stand.__new__(matrix.Stand)
    stand._lengths = [float("inf")] * len(rides.STEPS)
    for ends in ((5.0, 20.0, 22.0, 23.0), (1.0, 31.0)):
        stand._learn(rides.Ride("test", steps=dict(zip(rides.STEPS, ends, strict=False))))
    assert stand._lengths == [1.0, 15.0, 2.0, 1.0]


@pytest.mark.usefixtures("scripts")
def test_nothing_is_left_to_strike_when_the_ride_is_over() -> None:
    import ride as rides

    ride = rides.Ride("test")
    threading.Timer(0.05, ride.end).start()
    ride.reach(2, timeout=60)
    assert ride.is_over


@pytest.mark.usefixtures("scripts")
def test_a_worker_between_two_jobs_is_struck_when_it_has_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    import faults
    import matrix
    import ride as rides
    import verdict

    stand, ride = matrix.Stand.__new__(matrix.Stand), rides.Ride("test")
    stand.house, every, before = None, faults.every_fault(), verdict.Before(0, 0, 0)
    running = iter([0, 0, 1])
    monkeypatch.setattr(matrix, "num_running", lambda *_: next(running))
    assert stand._may_strike(every["worker:slow"], ride, before)
    assert next(running, None) is None, "it was asked until a worker had one"
    assert stand._may_strike(every["registry:slow"], ride, before), "nobody else is waited for"
    monkeypatch.setattr(matrix, "num_running", lambda *_: ride.end() or 0)
    assert not stand._may_strike(every["worker:slow"], ride, before), "the ride ended before it had one"
    assert not stand._may_strike(every["registry:slow"], ride, before)


@pytest.mark.usefixtures("scripts")
def test_a_run_that_struck_nothing_is_told_apart_and_not_counted() -> None:
    from table import table

    run: dict[str, Any] = {
        "fault": "worker:kill",
        "seed": 1,
        "broker": "redis",
        "store": "folder",
        "attempts": [1, 2],
        "told_to_retry": {},
        "asked": 4,
        "recovered": 2.5,
    }
    runs = [{**run, "outcome": "kept", "struck_at": "train 0.60"}, {**run, "outcome": "struck nothing"}]
    line = table(runs).splitlines()[-1]
    assert "| worker:kill | 0 | 1 | 0 | 0 | train 1 | 1 | 0 | 0 |" in line
    assert line.endswith("| 2.5 to 2.5 | 1 |")


@pytest.mark.usefixtures("scripts")
def test_a_clients_patience_begins_with_its_first_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    import ride as rides

    clock = ManualClock()

    def watch() -> str:
        clock.sleep(2 * rides.PATIENCE)  # all went well so long
        if not refused:
            raise Unavailable("the registry is stopping")
        return "the end"

    monkeypatch.setattr(rides, "time", clock)
    refused: list[str] = []
    assert rides.again(watch, refused, []) == "the end"
    assert refused == ["UNAVAILABLE"]


class ManualClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.usefixtures("scripts")
def test_a_broken_run_is_run_again_and_the_table_shows_the_last() -> None:
    import matrix

    place = {"fault": "broker:kill", "seed": 1, "broker": "redis", "store": "folder"}
    figures = {"attempts": [1], "told_to_retry": {}, "asked": 5, "recovered": 2.0, "struck_at": "train 0.50"}
    broken, kept = ({**place, **figures, "outcome": outcome} for outcome in ("broken", "kept"))
    options = argparse.Namespace(seeds=1, only=["broker:kill"], broker="redis", store="folder")
    assert [fault.name for fault, _ in matrix._missing(options, [broken])] == ["broker:kill"]
    assert not list(matrix._missing(options, [broken, kept]))
    assert "| 0 | 1 | 0 | 0 | train 1 | 1 | 0 | 0 |" in matrix.table([broken, kept])
