"""A machine's clock that is set takes nobody's lease, and is followed all the same."""

from datetime import timedelta

import pytest
from vermeil_errors import Unavailable
from vermeil_jobs import JobOutcome, JobState, Ledger, ManualClock, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_registry.clock import SteadyClock
from vermeil_registry.database import Database
from vermeil_registry.storage import SqlStorage


class Machine:
    """Its clock can be set, and time can pass."""

    def __init__(self) -> None:
        self.wall = ManualClock()
        self.seconds = 0.0
        self.clock = SteadyClock(wall=self.wall, steady=lambda: self.seconds)

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall.advance(seconds)


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86_400.0 * 365])
def test_a_clock_that_is_set_takes_no_lease_though_no_heartbeat_came_first(
    database: Database, jump: float
) -> None:
    machine, bell = Machine(), RecordingDoorbell()
    ledger = Ledger(SqlStorage(database), bell, clock=machine.clock)
    bench = Bench(ledger, machine.wall, bell, ledger)
    job = bench.create(max_attempts=1)
    lease = bench.claim(job)
    machine.wait(8)
    machine.wall.advance(jump)
    assert not bench.is_claimable(job)
    machine.clock.follow(ledger.forgive)
    assert machine.clock() == machine.wall()
    ledger.sweep()
    assert not bench.is_claimable(job)
    machine.wait(1)
    assert ledger.heartbeat(job.name, fence=lease.fence).lease.fence == lease.fence
    done = ledger.finish(job.name, fence=lease.fence, outcome=JobOutcome())
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)


def test_a_worker_that_vanished_before_the_clock_was_set_is_missed_all_the_same(database: Database) -> None:
    machine, bell = Machine(), RecordingDoorbell()
    ledger = Ledger(SqlStorage(database), bell, clock=machine.clock)
    bench = Bench(ledger, machine.wall, bell, ledger)
    job = bench.create()
    bench.claim(job)
    machine.wall.advance(3600)
    machine.clock.follow(ledger.forgive)
    machine.wait(6)
    bell.take()
    ledger.sweep()
    assert bell.take() == [job.name]
    assert bench.is_claimable(job)


def test_what_could_not_be_prolonged_is_prolonged_before_the_clock_follows() -> None:
    machine = Machine()
    before = machine.clock()
    machine.wall.advance(60)

    def refuse(_now: object) -> None:
        raise Unavailable("the database is away")

    with pytest.raises(Unavailable):
        machine.clock.follow(refuse)
    assert machine.clock() == before
    prolonged = []
    machine.clock.follow(prolonged.append)
    assert prolonged == [machine.wall()] == [machine.clock()]


def test_small_steps_are_followed_at_once() -> None:
    machine = Machine()
    machine.wall.advance(-0.4)
    machine.wait(5)
    machine.clock.follow(lambda _now: pytest.fail("nothing ends by so little"))
    assert machine.clock() == machine.wall()
    assert machine.clock() - ManualClock().now == timedelta(seconds=4.6)
