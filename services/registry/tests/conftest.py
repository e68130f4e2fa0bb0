"""Benches of the registry: over SQLite and over Postgres, called directly and over the wire."""

import shutil
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from vermeil.job.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from vermeil.job.v1.quota_service_pb2_grpc import add_QuotaServiceServicer_to_server
from vermeil.registry.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from vermeil.registry.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from vermeil.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from vermeil_jobs import GrpcJobs, Ledger, ManualClock, Policy, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_registry import database as database_module
from vermeil_registry import patience
from vermeil_registry.api import JobServicer
from vermeil_registry.audit import Audit
from vermeil_registry.audit_api import AuditServicer
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.catalogue_api import RegistryServicer
from vermeil_registry.database import Database
from vermeil_registry.keys import Keys
from vermeil_registry.keys_api import ApiKeyServicer
from vermeil_registry.migrate import migrate
from vermeil_registry.quotas_api import QuotaServicer
from vermeil_registry.storage import SqlStorage
from vermeil_registry.tables import metadata
from vermeil_registry.threads import Threads
from vermeil_registry.watch import Watches
from vermeil_rpc import Service, connect
from vermeil_rpc.testing import running
from vermeil_testing import Postgres, postgres

from .house import House


class Databases(ABC):
    """One kind of database server, from which tests take what they need."""

    def __init__(self) -> None:
        self._opened: list[Database] = []

    @abstractmethod
    def empty_url(self) -> str:
        """Where there is a database without tables."""

    @abstractmethod
    def migrated_url(self) -> str:
        """Where there is a database with all tables and no rows; it replaces the one before."""

    def open(self, url: str) -> Database:
        """A database that is closed after the test."""
        self._opened.append(Database(url))
        return self._opened[-1]

    def close(self) -> None:
        """Close all that were opened."""
        while self._opened:
            self._opened.pop().close()


class Files(Databases):
    """SQLite."""

    def __init__(self, migrated: Path, folder: Path) -> None:
        super().__init__()
        self._migrated, self._folder = migrated, folder

    def empty_url(self) -> str:
        return f"sqlite:///{self._folder}/{uuid.uuid4().hex}.db"

    def migrated_url(self) -> str:
        url = self.empty_url()
        shutil.copy(self._migrated, url.removeprefix("sqlite:///"))
        return url


class Cluster(Databases):
    """Postgres; emptying the tables is ten times as quick as making a database."""

    def __init__(self, server: Postgres, migrated: Database) -> None:
        super().__init__()
        self._server, self._migrated = server, migrated

    def empty_url(self) -> str:
        return self._server.new_database()

    def migrated_url(self) -> str:
        self.close()
        names = ", ".join(metadata.tables)
        with self._migrated.engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        return self._migrated.engine.url.render_as_string(hide_password=False)


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Run all calls at the same moment; their answers, or what they raised."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        start.wait()
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for seconds is no database that is away; tests of patience set theirs."""
    monkeypatch.setattr(database_module, "_LOCKED_SECONDS", 120.0)
    monkeypatch.setitem(database_module._OPTIONS["sqlite"]["connect_args"], "timeout", 120.0)
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 120.0)
    monkeypatch.setitem(patience._CONNECT, "connect_timeout", 120)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables and no rows."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[Database]:
    """The same on a server."""
    database = Database(postgres().new_database())
    migrate(database)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    """The same test on each kind of database."""
    found: Databases
    if request.param == "sqlite":
        found = Files(request.getfixturevalue("migrated"), tmp_path)
    else:
        found = Cluster(postgres(), request.getfixturevalue("migrated_postgres"))
    yield found
    found.close()


@pytest.fixture
def database(databases: Databases) -> Database:
    """With all tables and no rows."""
    return databases.open(databases.migrated_url())


@pytest.fixture
def sql_bench(database: Database) -> Bench:
    """A ledger over SQL whose clock and doorbell the test holds."""
    clock, doorbell = ManualClock(), RecordingDoorbell()
    ledger = Ledger(SqlStorage(database), doorbell, clock=clock, policy=Policy(watch_poll=0.05))
    return Bench(ledger, clock, doorbell, ledger)


@pytest.fixture
def any_house(database: Database, tmp_path: Path) -> House:
    """On each kind of database."""
    return House(database, tmp_path / "house")


@pytest.fixture
def house(migrated: Path, tmp_path: Path) -> Iterator[House]:
    """On SQLite, for what does not depend on it."""
    with _new_house(migrated, tmp_path / "house") as house:
        yield house


@pytest.fixture
def another(migrated: Path, tmp_path: Path) -> Iterator[House]:
    """A house that has lost all that the first one has."""
    with _new_house(migrated, tmp_path / "another") as house:
        yield house


@contextmanager
def _new_house(migrated: Path, folder: Path) -> Iterator[House]:
    rows = folder.with_suffix(".db")
    shutil.copy(migrated, rows)
    database = Database(f"sqlite:///{rows}")
    yield House(database, folder)
    database.close()


class Wire:
    """A served registry whose clock and doorbell the test holds."""

    def __init__(self, database: Database) -> None:
        self.clock, self.doorbell = ManualClock(), RecordingDoorbell()
        self.ledger = Ledger(SqlStorage(database), self.doorbell, clock=self.clock)
        self.threads = Threads()
        self.watches = Watches(self.ledger, self.threads, poll_seconds=0.05)
        self.catalogue = Catalogue(database, clock=self.clock)
        self.keys = Keys(database, clock=self.clock)
        self.audit = Audit(database, clock=self.clock)

    def services(self) -> list[Service]:
        jobs = JobServicer(self.ledger, self.threads, self.watches)
        names = RegistryServicer(self.catalogue, self.threads)

        async def drain() -> None:
            self.watches.drain()

        return [
            Service("vermeil.job.v1.JobService", add_JobServiceServicer_to_server, jobs, drain=drain),
            Service(
                "vermeil.job.v1.QuotaService",
                add_QuotaServiceServicer_to_server,
                QuotaServicer(self.ledger, self.threads),
            ),
            Service("vermeil.registry.v1.RegistryService", add_RegistryServiceServicer_to_server, names),
            Service(
                "vermeil.registry.v1.ApiKeyService",
                add_ApiKeyServiceServicer_to_server,
                ApiKeyServicer(self.keys, self.threads),
            ),
            Service(
                "vermeil.registry.v1.AuditService",
                add_AuditServiceServicer_to_server,
                AuditServicer(self.audit, self.threads),
            ),
        ]


@pytest.fixture
def wire(database: Database) -> Iterator[Wire]:
    wire = Wire(database)
    yield wire
    wire.threads.close()


@pytest.fixture
def address(wire: Wire) -> Iterator[str]:
    with running(wire.services) as server:
        yield server.address


@pytest.fixture
def wire_bench(wire: Wire, address: str) -> Iterator[Bench]:
    with connect(address) as channel:
        yield Bench(GrpcJobs(channel, timeout=60), wire.clock, wire.doorbell, wire.ledger)
