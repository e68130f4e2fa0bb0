"""Writes a house of the newest revision with rows in every table, as lines of JSON beside this file.

Run it once for each new migration and keep the file: tests open every house with the code of their day.
"""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from google.protobuf.wrappers_pb2 import StringValue
from vermeil_artifacts import ArtifactRef
from vermeil_jobs import (
    JobOutcome,
    Ledger,
    Limits,
    LogLine,
    ManualClock,
    NewJob,
    NewModelVersion,
    RecordingDoorbell,
    Spec,
)
from vermeil_registry.audit import Audit, NewEvent
from vermeil_registry.database import Database
from vermeil_registry.dump import dump
from vermeil_registry.keys import Entry, Keys, NewKey
from vermeil_registry.migrate import migrate, revisions
from vermeil_registry.storage import SqlStorage

KEY, SECRET = "keys/0123456789abcdef", sha256(b"a secret").digest()


def fill(database: Database, revision: str) -> None:
    """Rows in every table that the revision has; code of later tables is not called."""
    clock = ManualClock()
    ledger = Ledger(SqlStorage(database), RecordingDoorbell(), clock=clock)

    def new(number: int, after: tuple[str, ...] = ()) -> NewJob:
        return NewJob(
            "vermeil.tester.v1.test", "tester", Spec.pack(StringValue(value="spec")), f"r{number}", after
        )

    first = ledger.create(new(1))
    ledger.create(new(2, (first.name,)))
    fence = ledger.claim(first.name, worker="worker").lease.fence  # type: ignore[union-attr]
    ledger.heartbeat(
        first.name, fence=fence, lines=[LogLine(datetime(2026, 1, 1, tzinfo=UTC), "info", "begun")]
    )
    ref = ArtifactRef(f"sha256:{7:064x}", "model", 1234)
    outcome = JobOutcome(outputs={"model": ref}, model_versions=(NewModelVersion("models/nano", ref),))
    ledger.finish(first.name, fence=fence, outcome=outcome)
    if revision >= "0002":
        keys = Keys(database, clock=clock)
        keys.create(NewKey(KEY, "laptop", "owners/default", ("read",), None), SECRET, "k1")
        keys.report("gateway-1", 1, [Entry(KEY, "2026-01-01", 2, 30, clock() + timedelta(seconds=1))])
    if revision >= "0004":
        ledger.set_quota("owners/guests", Limits(max_running=2, max_waiting=100))
    if revision >= "0003":
        event = NewEvent(KEY, "POST /v1/trainings", first.name, 202, "trace-1")
        Audit(database, clock=clock).record(event, "a1")


def main(revision: str) -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/registry.db")
        migrate(database, to=revision)
        fill(database, revision)
        lines = database.read(lambda connection: list(dump(connection)))
        database.close()
    (Path(__file__).parent / f"{revision}.jsonl").write_bytes(b"".join(lines))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else revisions()[-1])
