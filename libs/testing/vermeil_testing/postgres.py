"""PostgreSQL that trusts everybody on this machine and does not wait for the disk."""

import signal
import struct
import uuid
from functools import cache
from pathlib import Path

from vermeil_testing.programs import find
from vermeil_testing.server import Server, ask

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Postgres(Server):
    """A cluster with nothing in it."""

    package = "postgresql"
    user = "postgres"
    kill_signal = signal.SIGQUIT  # as after a crash, but takes its children along

    def __init__(self, parent: Path | None = None) -> None:
        self._program = find("postgres", self.package)
        super().__init__(parent)
        initdb = find("initdb", self.package)
        self.run(
            initdb,
            "-D",
            str(self.folder / "data"),
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
        )

    def command(self) -> list[str]:
        """No sockets in folders, no waiting for disks."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self._program, "-D", str(self.folder / "data"), "-p", str(self.port), *settings]

    def answers(self) -> bool:
        """Takes connections once psql may run."""
        return ask(self.port, _SSL_REQUEST) in (b"S", b"N") and self._is_open()

    def groups(self) -> list[int]:
        """The server and each of its processes, which are in groups of their own."""
        (own,) = super().groups()
        return [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]

    def new_database(self) -> str:
        """URL of an empty database."""
        name = f"vermeil_{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@{self.address}/{name}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints for one statement."""
        psql = find("psql", "postgresql-client")
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database)
        return self.run(psql, *where, "-Atqc", statement)

    def _is_open(self) -> bool:
        try:
            return self.sql("SELECT 1").strip() == "1"
        except AssertionError:  # still recovering
            return False


@cache
def postgres() -> Postgres:
    """The one of this process."""
    server = Postgres()
    server.start()
    return server
