"""Benches of the registry: SQLite, Postgres where VERMEIL_TEST_POSTGRES_URL names one, over the wire."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from vermeil.job.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from vermeil.registry.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from vermeil.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from vermeil_jobs import GrpcJobs, Ledger, ManualClock, Policy, RecordingDoorbell
from vermeil_jobs.suite import Bench
from vermeil_registry.api import JobServicer
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.catalogue_api import RegistryServicer
from vermeil_registry.database import Database
from vermeil_registry.keys import Keys
from vermeil_registry.keys_api import ApiKeyServicer
from vermeil_registry.migrate import migrate
from vermeil_registry.storage import SqlStorage
from vermeil_registry.threads import Threads
from vermeil_registry.watch import Watches
from vermeil_rpc import Service, connect
from vermeil_rpc.testing import running

POSTGRES_URL = os.environ.get("VERMEIL_TEST_POSTGRES_URL")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables and no rows."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture
def sqlite(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "registry.db"
    shutil.copy(migrated, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def postgres() -> Iterator[Database]:
    assert POSTGRES_URL is not None
    name = f"vermeil_{uuid.uuid4().hex}"
    server = create_engine(POSTGRES_URL, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    database = Database(make_url(POSTGRES_URL).set(database=name).render_as_string(hide_password=False))
    migrate(database)
    yield database
    database.close()
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture(params=["sqlite", "postgres"] if POSTGRES_URL else ["sqlite"])
def database(request: pytest.FixtureRequest) -> Database:
    """The same test on each database."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Database)
    return found


@pytest.fixture
def sql_bench(database: Database) -> Bench:
    """A ledger over SQL whose clock and doorbell the test holds."""
    clock, doorbell = ManualClock(), RecordingDoorbell()
    ledger = Ledger(SqlStorage(database), doorbell, clock=clock, policy=Policy(watch_poll=0.05))
    return Bench(ledger, clock, doorbell, ledger.sweep)


class Wire:
    """A served registry whose clock and doorbell the test holds."""

    def __init__(self, database: Database) -> None:
        self.clock, self.doorbell = ManualClock(), RecordingDoorbell()
        self.ledger = Ledger(SqlStorage(database), self.doorbell, clock=self.clock)
        self.threads = Threads()
        self.watches = Watches(self.ledger, self.threads, poll_seconds=0.05)
        self.catalogue = Catalogue(database, clock=self.clock)
        self.keys = Keys(database, clock=self.clock)

    def services(self) -> list[Service]:
        jobs = JobServicer(self.ledger, self.threads, self.watches)
        names = RegistryServicer(self.catalogue, self.threads)

        async def drain() -> None:
            self.watches.drain()

        return [
            Service("vermeil.job.v1.JobService", add_JobServiceServicer_to_server, jobs, drain=drain),
            Service("vermeil.registry.v1.RegistryService", add_RegistryServiceServicer_to_server, names),
            Service(
                "vermeil.registry.v1.ApiKeyService",
                add_ApiKeyServiceServicer_to_server,
                ApiKeyServicer(self.keys, self.threads),
            ),
        ]


@pytest.fixture
def wire(sqlite: Database) -> Iterator[Wire]:
    wire = Wire(sqlite)
    yield wire
    wire.threads.close()


@pytest.fixture
def address(wire: Wire) -> Iterator[str]:
    with running(wire.services) as server:
        yield server.address


@pytest.fixture
def wire_bench(wire: Wire, address: str) -> Iterator[Bench]:
    with connect(address) as channel:
        yield Bench(GrpcJobs(channel), wire.clock, wire.doorbell, wire.ledger.sweep)
