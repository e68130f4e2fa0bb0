"""Random lives of jobs over SQL."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from vermeil_jobs import Ledger, ManualClock, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.machine import JobMachine
from vermeil_registry.database import Database
from vermeil_registry.storage import SqlStorage


def test_random_lives_of_jobs_keep_every_promise_over_sql(migrated: Path) -> None:
    class SqlMachine(JobMachine):
        def make_bench(self) -> Bench:
            self.folder = tempfile.TemporaryDirectory()
            path = Path(self.folder.name) / "registry.db"
            shutil.copy(migrated, path)
            self.database = Database(f"sqlite:///{path}")
            clock, doorbell = ManualClock(), RecordingDoorbell()
            ledger = Ledger(SqlStorage(self.database), doorbell, clock=clock)
            return Bench(ledger, clock, doorbell, ledger.sweep)

        def teardown(self) -> None:
            super().teardown()
            if hasattr(self, "database"):
                self.database.close()
                self.folder.cleanup()

    run_state_machine_as_test(
        SqlMachine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
    )
