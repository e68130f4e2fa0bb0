"""When a fault strikes: where the ride is, not what the clock says; and one that comes too late."""

import argparse
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vermeil_client import Job
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


class Watched:
    """A client whose watch waits at each report until it is looked at."""

    def __init__(self, *reports: tuple[str, int, int]) -> None:
        self.reports = reports
        self.go_on = threading.Semaphore(0)

    def watch(self, name: str) -> Iterator[Job]:
        for state, done, total in self.reports:
            progress = {"done": str(done), "total": str(total)}
            yield Job.from_json({"name": name, "state": f"JOB_STATE_{state}", "progress": progress})
            assert self.go_on.acquire(timeout=60)


@pytest.mark.usefixtures("scripts")
def test_a_moment_comes_with_the_progress_that_the_job_reports() -> None:
    import ride as rides

    ride = rides.Ride("test")
    client: Any = Watched(("PENDING", 0, 0), ("RUNNING", 0, 10), ("RUNNING", 5, 10), ("SUCCEEDED", 10, 10))
    training = threading.Thread(target=ride._ended, args=(client, "jobs/1", rides.STEPS.index("train")))
    training.start()
    for moment, place in ((1.1, "train 0.20"), (1.5, "train 0.60")):
        ride.reach(moment, timeout=60)
        assert ride.place == place
        client.go_on.release(2)
    training.join(60)
    ride._note("train")
    ride.reach(1.9, timeout=60)
    assert ride.place == "evaluate 0.00", "what went by unseen strikes at once"


@pytest.mark.usefixtures("scripts")
def test_nothing_is_left_to_strike_when_the_ride_is_over() -> None:
    import ride as rides

    ride = rides.Ride("test")
    threading.Timer(0.05, ride.end).start()
    ride.reach(2.5, timeout=60)
    assert ride.place == ""


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
    assert "| worker:kill | 1 (redis, folder) | train 0.60 | 1 | 0 | 0 |" in line
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
    assert "| 1 (redis, folder) | train 0.50 | 1 | 0 | 0 |" in matrix.table([broken, kept])
