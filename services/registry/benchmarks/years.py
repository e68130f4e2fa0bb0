"""What the registry asks of its database, in a house of two years beside one that is nearly empty.

Both houses have the same jobs that wait and run; the large one has 200 times as many that are over, with
their lines, artifacts, versions and audit events. Calls go through the code of the registry, the houses in
turn; told are medians in milliseconds, and how many times as long the large house takes.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, product
from pathlib import Path

from fill import (
    LONGEST_LOG,
    MODELS,
    PER_ARTIFACT,
    PER_VERSION,
    QUEUES,
    RUNNING,
    WAITING,
    digest_of,
    fill,
    job_name,
    kind_of,
)
from sqlalchemy import text
from vermeil_artifacts import ArtifactRef
from vermeil_jobs import (
    JobOutcome,
    JobState,
    Ledger,
    Limits,
    LogLine,
    NewJob,
    NewModelVersion,
    Policy,
    RecordingDoorbell,
    Spec,
)
from vermeil_jobs.pages import make_token
from vermeil_registry.audit import Audit, NewEvent
from vermeil_registry.backup import named_artifacts
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.database import Database
from vermeil_registry.keys import Entry, Keys
from vermeil_registry.migrate import migrate, revisions
from vermeil_registry.storage import SqlStorage
from vermeil_testing import postgres

RESULTS = Path(__file__).parent / "results"
OWNER, BOUNDED = "owners/o1", "owners/o2"
COMMON, RARE = kind_of(101), kind_of(20)
_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.RUNNING)
Ways = dict[str, Callable[[], object]]


class House:
    """A filled database, and who asks it."""

    def __init__(self, url: str, ended: int) -> None:
        self.database, self.ended = Database(url), ended
        migrate(self.database)
        begun = time.perf_counter()
        fill(self.database, ended)
        if not self.database.is_sqlite:  # as its own housekeeping does in time
            with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        print(f"{url.partition(':')[0]}, {ended} ended jobs: filled in {time.perf_counter() - begun:.0f} s")
        storage, calm = SqlStorage(self.database), Policy(ring_patience=timedelta(hours=1))
        storage.write(lambda rows: rows.set_limits(BOUNDED, Limits(max_running=10_000, max_waiting=100_000)))
        self.ledger = Ledger(storage, RecordingDoorbell(), policy=calm)
        self.catalogue, self.audit, self.keys = (kind(self.database) for kind in (Catalogue, Audit, Keys))
        self._numbers = count(1)
        self._claimed: list[tuple[str, int]] = []

    def jobs(self) -> Ways:
        """What becomes of jobs."""
        return {
            "submit": partial(self._create, OWNER),
            "submit, owner with a quota": partial(self._create, BOUNDED),
            "submit the same again": lambda: self.ledger.create(self._new(OWNER, "new-1")),
            "claim the next": self._claim,
            "heartbeat": self._beat,
            "heartbeat with a line, of 10,000": self._log,
            "finish with a version": self._finish,
            "get, watch": lambda: self.ledger.get(job_name(1)),
            "sweep": self.ledger.sweep,
            "lengths for Prometheus": self.ledger.lengths,
            "quota of one": lambda: self.ledger.quota(BOUNDED),
            "quotas of all": self.ledger.list_quotas,
        }

    def lists(self) -> Ways:
        """Pages: the first, and one from deep in."""
        found: Ways = {}
        for kind, state in product(("", COMMON, RARE), (None, *_STATES)):
            said = " ".join(["jobs", *filter(None, (kind, state))])
            deep = make_token(f"jobs {state or ''} {kind}", self.ended // 2)
            found[said] = partial(self.ledger.list_jobs, state=state, kind=kind)
            found[f"{said}, deep"] = partial(self.ledger.list_jobs, state=state, kind=kind, page_token=deep)
        last = job_name(self.ended + WAITING + RUNNING)
        found["lines"] = partial(self.ledger.list_logs, last)
        deep = make_token(f"{last} logs", LONGEST_LOG // 2)
        found["lines, deep"] = partial(self.ledger.list_logs, last, page_token=deep)
        return found

    def names(self) -> Ways:
        """Catalogue, audit, keys, and what a collection asks."""
        artifact, versions = self.ended // PER_ARTIFACT, max(self.ended // PER_VERSION // MODELS, 1)
        name, deep = f"artifacts/{digest_of(artifact // 2)}", make_token("artifacts ", artifact // 2)
        list_artifacts, list_events = self.catalogue.list_artifacts, self.audit.list_events
        version, resource = f"models/m7/versions/{versions // 2 + 1}", job_name(self.ended // 2)
        after = make_token("models/m7 versions", versions // 2 + 1)
        key, caller = "keys/0000000000000007", f"keys/{OWNER}"
        return {
            "artifact": lambda: self.catalogue.get_artifact(name),
            "artifacts": lambda: list_artifacts(50, "", ""),
            "artifacts, deep": lambda: list_artifacts(50, deep, ""),
            "artifacts of a common kind": lambda: list_artifacts(50, "", "model"),
            "artifacts of a rare kind": lambda: list_artifacts(50, "", "rare"),
            "version": lambda: self.catalogue.get_version("models", version),
            "newest version": lambda: self.catalogue.get_version("models", "models/m7"),
            "versions": lambda: self.catalogue.list_versions("models", "models/m7", 50, ""),
            "versions, deep": lambda: self.catalogue.list_versions("models", "models/m7", 50, after),
            "models": lambda: self.catalogue.list_entries("models", 50, ""),
            "register a version": self._register,
            "audit: record": self._record,
            "audit: list": lambda: list_events(50, ""),
            "audit: list, deep": lambda: list_events(50, make_token("audit  ", self.ended // 2)),
            "audit: of a caller": lambda: list_events(50, "", caller=caller),
            "audit: of a resource": lambda: list_events(50, "", resource=resource),
            "audit: of both": lambda: list_events(50, "", caller=caller, resource=resource),
            "audit: of both, never met": lambda: list_events(
                50, "", caller=f"keys/{BOUNDED}", resource=job_name(2)
            ),
            "key: check": lambda: self.keys.check(key, bytes(32)),
            "key: report": self._report,
            "keys": lambda: self.keys.list_keys(50, ""),
        }

    def rarely(self) -> Ways:
        """What is asked when a broker or a registry is back, once a week, or once a release."""
        before = revisions()[-2]
        return {
            "recall": self.ledger.recall,
            "forgive": self.ledger.forgive,
            "collect: named artifacts": lambda: self.database.read(named_artifacts),
            f"migrate to {before}": lambda: migrate(self.database, to=before),
            f"migrate from {before}": lambda: migrate(self.database),
        }

    def _new(self, owner: str, request_id: str) -> NewJob:
        return NewJob(COMMON, "q1", Spec("type.googleapis.com/x", b"x" * 600), request_id, owner=owner)

    def _create(self, owner: str) -> None:
        self.ledger.create(self._new(owner, f"new-{next(self._numbers)}"))

    def _claim(self) -> None:
        rung = job_name(self.ended + WAITING - WAITING % QUEUES - QUEUES + 1)
        claimed = self.ledger.claim(rung, worker="worker-1", kinds=[COMMON])
        assert claimed.lease is not None, rung
        self._claimed.append((claimed.job.name, claimed.lease.fence))

    def _beat(self) -> None:
        name, fence = self._claimed[-1]
        self.ledger.heartbeat(name, fence=fence)

    def _log(self) -> None:
        line = LogLine(datetime.now(UTC), "info", "step 9 of 1000")
        self.ledger.heartbeat(job_name(self.ended + WAITING + RUNNING), fence=1, lines=[line])

    def _finish(self) -> None:
        name, fence = self._claimed.pop()
        ref = ArtifactRef(digest_of(10**9 + next(self._numbers)), "model", 1)
        outcome = JobOutcome(outputs={"model": ref}, model_versions=(NewModelVersion("models/m1", ref),))
        self.ledger.finish(name, fence=fence, outcome=outcome)

    def _register(self) -> None:
        number = 10**9 + next(self._numbers)
        new = NewModelVersion("models/m2", ArtifactRef(digest_of(number), "model", 1))
        self.catalogue.create_version(new, request_id=f"version-{number}", job=job_name(1))

    def _record(self) -> None:
        new = NewEvent("keys/someone", "POST /v1/trainings", job_name(1), 202, "trace")
        self.audit.record(new, f"event-{next(self._numbers)}")

    def _report(self) -> None:
        now = datetime.now(UTC)
        entry = Entry("keys/0000000000000007", now.date().isoformat(), 1, 10, now)
        self.keys.report("gateway-1", next(self._numbers), [entry])


def main() -> None:
    """Fill, measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--ended", type=int, default=200_000, help="jobs that are over in the large house")
    arguments.add_argument("--small", type=int, default=1_000, help="the same of the small one")
    arguments.add_argument("--repeats", type=int, default=41, help="rounds over all calls")
    arguments.add_argument(
        "--kind", choices=["sqlite", "postgresql"], nargs="+", default=["sqlite", "postgresql"]
    )
    arguments.add_argument("--name", default="years", help="of the file in results/")
    chosen = arguments.parse_args()
    sizes = (chosen.small, chosen.ended)
    with tempfile.TemporaryDirectory() as folder:
        urls = {
            "sqlite": [f"sqlite:///{folder}/{size}.db" for size in sizes],
            "postgresql": [postgres().new_database() for _ in sizes],
        }
        figures = {
            kind: _compared([House(url, size) for url, size in zip(both, sizes, strict=True)], chosen.repeats)
            for kind, both in urls.items()
            if kind in chosen.kind
        }
    settings = {"ended": sizes, "waiting": WAITING, "running": RUNNING, "repeats": chosen.repeats}
    found = {"python": platform.python_version(), **settings, "milliseconds": figures}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{chosen.name}.json").write_text(json.dumps(found, indent=1) + "\n")


def _compared(houses: list[House], repeats: int) -> dict[str, dict[str, float]]:
    """Medians of all calls, the houses in turn; calls of a round come in their order."""
    figures: dict[str, dict[str, float]] = {}
    for group, times in (("jobs", repeats), ("lists", repeats), ("names", repeats), ("rarely", 3)):
        ways = [getattr(house, group)() for house in houses]
        took: dict[str, list[list[float]]] = {name: [[], []] for name in ways[0]}
        for _ in range(times):
            for name, lists in took.items():
                for each, calls in zip(lists, ways, strict=True):
                    begun = time.perf_counter()
                    calls[name]()
                    each.append((time.perf_counter() - begun) * 1e3)
        for name, lists in took.items():
            small, large = map(statistics.median, lists)
            figures[name] = {
                "small": round(small, 3),
                "large": round(large, 3),
                "ratio": round(large / small, 2),
            }
            print(f"{name:45} {small:10.2f} {large:10.2f} {large / small:8.2f}")
    for house in houses:
        house.database.close()
    return figures


if __name__ == "__main__":
    main()
