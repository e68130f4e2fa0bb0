"""Random lives of jobs over SQL."""

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from vermeil_jobs import Ledger, ManualClock, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.machine import JobMachine
from vermeil_jobs.suite.sharing import SharingMachine
from vermeil_registry.storage import SqlStorage

from .conftest import Databases  # pants: no-infer-dep


@pytest.mark.parametrize(("machine", "examples"), [(JobMachine, 25), (SharingMachine, 8)])
def test_random_lives_of_jobs_keep_every_promise_over_sql(
    databases: Databases, machine: type[RuleBasedStateMachine], examples: int
) -> None:
    class SqlMachine(machine):  # type: ignore[misc, valid-type]
        def make_bench(self) -> Bench:
            database = databases.open(databases.migrated_url())
            clock, doorbell = ManualClock(), RecordingDoorbell()
            ledger = Ledger(SqlStorage(database), doorbell, clock=clock)
            return Bench(ledger, clock, doorbell, ledger)

        def teardown(self) -> None:
            super().teardown()
            databases.close()

    run_state_machine_as_test(
        SqlMachine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )
