"""All services as processes beside real servers, with a door in front of each that can be shut.

    gateway ─► offices ──► [registry] ─► [database]       [x]: a door
       │          │            └───────► [broker]
       └─► [generator] ─► [store]
    workers ─► doors of their own to registry, broker and store

Whoever dies is started again, as an orchestrator does it.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from disk import Disk
from minio import Minio
from proxy import Proxy, Wires
from unit import PARENT, Unit
from vermeil_artifacts import ArtifactStore, open_store
from vermeil_client import Vermeil
from vermeil_errors import VermeilError
from vermeil_testing import Ceph, Postgres, RabbitMQ, Redis, free_port

BrokerKind = Literal["redis", "rabbitmq"]
StoreKind = Literal["ceph", "folder"]
_BUCKET = "artifacts"
_START_SECONDS = 300.0
_DISK_MIB = {"database": 400, "broker": 160, "worker": 160, "generator": 160, "store": 160}


class Victim(Protocol):
    """What can be killed, started again and sent signals."""

    def kill(self) -> None:
        """End it at once; it stays away."""

    def start(self) -> None:
        """Start it again."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""


@dataclass(frozen=True)
class Component:
    """What a fault strikes."""

    victim: Callable[[], Victim] | None = None
    """The process to kill or freeze now, if it has one."""
    doors: Sequence[Proxy] = ()
    """Through which others reach it; of workers, through which they reach others."""
    disk: Disk | None = None
    """Where its files lie, if it has a small one."""


class Deployment:
    """Everything, until it is closed. `with_disks` gives small disks, which wants root."""

    def __init__(
        self, broker: BrokerKind = "redis", store: StoreKind = "folder", *, with_disks: bool = False
    ) -> None:
        self.broker_kind = broker
        self.store_kind = store
        self.folder = Path(tempfile.mkdtemp(prefix="vermeil-faults-"))
        self.folder.chmod(0o755)  # Postgres runs as somebody else
        self.units: dict[str, Unit] = {}
        self.components: dict[str, Component] = {}
        self._disks: dict[str, Disk] = {}
        self._wires = Wires()
        self._over = threading.Event()
        self._ceph: Ceph | None = None
        try:
            if with_disks:
                self._disks = {each: Disk(self.folder / each, mib) for each, mib in _DISK_MIB.items()}
            self._start_servers()
            self._start_units()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._look_after, name="orchestrator", daemon=True).start()

    def client(self) -> Vermeil:
        """The SDK at the gateway."""
        return Vermeil(self.url)

    def open_store(self, cache: Path) -> ArtifactStore:
        """The store by the back door; with an empty cache, what is fetched is read and verified anew."""
        where = self._store_at(self._ceph.address if self._ceph else "")
        return open_store(
            where["VERMEIL_ARTIFACTS_URL"],
            cache=cache,
            s3_endpoint=where.get("VERMEIL_S3_ENDPOINT"),
            s3_access_key=Ceph.access_key,
            s3_secret_key=Ceph.secret_key,
            s3_secure=False,
        )

    def sql(self, statement: str) -> list[str]:
        """Rows of the database, by the back door."""
        name = self._database_url.rpartition("/")[2]
        return self._postgres.sql(statement, database=name).split()

    def wait(self) -> None:
        """Until the gateway, the registry and all services answer."""
        end = time.monotonic() + _START_SECONDS
        with self.client() as client:
            while True:
                try:
                    client.models()
                    client.tasks()
                    client.recipes()
                except VermeilError as error:
                    if time.monotonic() > end:
                        raise AssertionError(f"it does not start: {self.last_words()}") from error
                    time.sleep(0.5)
                else:
                    return

    def last_words(self) -> str:
        """The ends of all logs."""
        files = sorted((self.folder / "logs").glob("*.log"))
        return "\n".join(f"── {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in files)

    def close(self) -> None:
        """End everything and remove what it kept."""
        self._over.set()
        for unit in self.units.values():
            unit.kill()
        for server in (getattr(self, name, None) for name in ("_postgres", "_broker", "_ceph")):
            if server is not None:
                server.close()
        self._wires.close()
        for disk in self._disks.values():
            disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_servers(self) -> None:
        self._postgres = Postgres(self._disk("database"))
        self._broker = (Redis if self.broker_kind == "redis" else RabbitMQ)(self._disk("broker"))
        self._postgres.start()
        self._broker.start()
        self._database_url = self._postgres.new_database()
        if self.store_kind == "ceph":
            self._ceph = Ceph()
            self._ceph.start()
            self._ceph.add_user()
            keys = (self._ceph.access_key, self._ceph.secret_key)
            Minio(self._ceph.address, *keys, secure=False).make_bucket(_BUCKET)

    def _start_units(self) -> None:
        (self.folder / "logs").mkdir()
        registry, offices, generator, http = (f"127.0.0.1:{free_port()}" for _ in range(4))
        self.url = f"http://{http}"
        database = self._door(self._postgres.address)
        near, far = self._doors(registry), self._doors(registry)
        generating = self._door(generator)
        addresses = {f"VERMEIL_{each}_ADDRESS": offices for each in _OFFICES}
        shared = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VERMEIL_")},
            **addresses,
            **self._reaching(near, self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            # What nobody holds is forgotten at once, so whoever reads without holding is found out.
            "VERMEIL_ARTIFACTS_CACHE_BYTES": "0",
            "VERMEIL_GENERATOR_ADDRESS": generating.address,
        }
        url = self._database_url.replace(self._postgres.address, database.address)
        self._start("registry", ["vermeil_registry"], shared, VERMEIL_BIND=registry, VERMEIL_DATABASE_URL=url)
        self._start("offices", ["offices"], shared, VERMEIL_BIND=offices)
        home = self._disk("generator") or self.folder / "generator"
        self._start(
            "generator", ["vermeil_generator"], shared, VERMEIL_BIND=generator, VERMEIL_HOME=str(home)
        )
        self._start("gateway", ["vermeil_gateway"], shared, VERMEIL_HTTP_BIND=http)
        at_work = self._reaching(far, self._disk("worker") or self.folder / "workers")
        for name in ("worker-1", "worker-2"):
            self._start(name, ["vermeil_local.worker", PARENT], {**shared, **at_work})
        self._name_components(near, far, database, generating)

    def _name_components(self, near: "_Doors", far: "_Doors", database: Proxy, generating: Proxy) -> None:
        disk, units = self._disks.get, self.units
        self.components = {
            "worker": Component(self._busy_worker, far.all, disk("worker")),
            "broker": Component(lambda: self._broker, [near.broker, far.broker], disk("broker")),
            "database": Component(lambda: self._postgres, [database], disk("database")),
            "registry": Component(lambda: units["registry"], [near.registry, far.registry]),
            "generator": Component(lambda: units["generator"], [generating], disk("generator")),
        }
        ceph, doors = self._ceph, [each.store for each in (near, far) if each.store]
        if ceph is not None:
            self.components["store"] = Component(lambda: ceph, doors)
        elif disk("store"):
            self.components["store"] = Component(disk=disk("store"))

    def _busy_worker(self) -> Victim:
        """Who holds a job, or else the first."""
        held = {row.rpartition(":")[2] for row in self.sql("SELECT worker FROM jobs WHERE state = 'RUNNING'")}
        workers = [unit for name, unit in self.units.items() if name.startswith("worker")]
        return next((each for each in workers if str(each.pid) in held), workers[0])

    def _start(self, name: str, command: Sequence[str], shared: Mapping[str, str], **own: str) -> None:
        log = self.folder / "logs" / f"{name}.log"
        self.units[name] = Unit(name, command, {**shared, **own}, log)
        self.units[name].start()

    def _reaching(self, doors: "_Doors", home: Path) -> dict[str, str]:
        broker = self._broker.url.replace(self._broker.address, doors.broker.address)
        return {
            "VERMEIL_HOME": str(home),
            "VERMEIL_REGISTRY_ADDRESS": doors.registry.address,
            "VERMEIL_BROKER_URL": broker,
            **self._store_at(doors.store.address if doors.store else ""),
        }

    def _store_at(self, address: str) -> dict[str, str]:
        if not address:
            folder = self._disk("store") or self.folder / "store"
            return {"VERMEIL_ARTIFACTS_URL": f"file://{folder}/artifacts"}
        return {
            "VERMEIL_ARTIFACTS_URL": f"s3://{_BUCKET}/faults",
            "VERMEIL_S3_ENDPOINT": address,
            "VERMEIL_S3_SECURE": "false",
            "VERMEIL_S3_ACCESS_KEY": Ceph.access_key,
            "VERMEIL_S3_SECRET_KEY": Ceph.secret_key,
        }

    def _doors(self, registry: str) -> "_Doors":
        store = self._door(self._ceph.address) if self._ceph else None
        return _Doors(self._door(registry), self._door(self._broker.address), store)

    def _door(self, address: str) -> Proxy:
        return Proxy(self._wires, address)

    def _disk(self, name: str) -> Path | None:
        return self._disks[name].folder if name in self._disks else None

    def _look_after(self) -> None:
        while not self._over.wait(0.5):
            for unit in self.units.values():
                unit.look_after()


@dataclass(frozen=True)
class _Doors:
    """Through which some processes reach others."""

    registry: Proxy
    broker: Proxy
    store: Proxy | None

    @property
    def all(self) -> list[Proxy]:
        return [each for each in (self.registry, self.broker, self.store) if each is not None]


_OFFICES = ("INGEST", "ENCODER_TEXT", "TRAINER", "EVALUATOR")
