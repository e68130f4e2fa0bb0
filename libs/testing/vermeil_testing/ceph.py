"""Ceph's S3 gateway over one monitor and one store in memory: a real S3 server from Debian.

MinIO's own server is archived and moto accepts wrong secrets and broken checksums; this one does not.
"""

import os
import subprocess
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from vermeil_testing.programs import find
from vermeil_testing.server import Server, ask, free_port

_ALL = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")


class Ceph(Server):
    """One gateway with one user; killing it leaves what is behind it."""

    package = "radosgw"
    access_key = "tests"
    secret_key = "tests-secret"  # noqa: S105

    def __init__(self, parent: Path | None = None) -> None:
        self._gateway = find("radosgw", "radosgw")
        programs = {"ceph-mon": "ceph-mon", "ceph-osd": "ceph-osd", "ceph": "ceph-common"}
        self._programs = {name: find(name, package) for name, package in programs.items()}
        super().__init__(parent)
        self._behind: list[subprocess.Popen[bytes]] = []
        self._write_settings()
        self._start_monitor()
        self._start_store()
        self._ceph(
            "auth", "get-or-create", "client.rgw", "mon", "allow rw", "osd", "allow rwx", "-o", "rgw.key"
        )

    def command(self) -> list[str]:
        """The gateway."""
        frontend = f"beast endpoint={self.address} tcp_nodelay=1"
        return [self._gateway, "-f", "-n", "client.rgw", "-k", "rgw.key", "--rgw_frontends", frontend]

    def environment(self) -> Mapping[str, str]:
        """Its settings, and nothing of our Python's for the programs that are in Python."""
        return {"CEPH_CONF": str(self.folder / "ceph.conf"), "PYTHONPATH": ""}

    def answers(self) -> bool:
        """Speaks HTTP."""
        return ask(self.port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/")

    def add_user(self) -> None:
        """Let the user of the tests in."""
        admin = find("radosgw-admin", "radosgw")
        keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
        self.run(admin, "user", "create", "--uid", "tests", "--display-name", "tests", *keys)

    def close(self) -> None:
        """End it and what is behind it."""
        for process in self._behind:
            process.kill()
            process.wait()
        super().close()

    def _write_settings(self) -> None:
        settings = {
            "fsid": str(uuid.uuid4()),
            "mon_host": f"v2:127.0.0.1:{free_port()}",
            "keyring": str(self.folder / "admin.key"),
            "run_dir": str(self.folder),
            "admin_socket": "",
            "log_file": str(self.folder / "ceph.log"),
            "mon_data": str(self.folder / "mon"),
            "osd_data": str(self.folder / "osd"),
            "osd_objectstore": "memstore",
            "memstore_device_bytes": str(2**30),
            "osd_pool_default_size": "1",
            "osd_pool_default_min_size": "1",
            "osd_pool_default_pg_num": "1",
            "osd_pool_default_pg_autoscale_mode": "off",
            "osd_crush_chooseleaf_type": "0",
            "mon_allow_pool_size_one": "true",
            "ms_bind_ipv4": "true",
            "public_network": "127.0.0.0/8",
            "crash_dir": str(self.folder),
        }
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.folder / "ceph.conf").write_text(f"[global]\n{lines}")
        self._fsid, self._monitor = settings["fsid"], settings["mon_host"]

    def _start_monitor(self) -> None:
        keys = find("ceph-authtool", "ceph-common")
        self.run(keys, "--create-keyring", "admin.key", "--gen-key", "-n", "client.admin", *_ALL)
        self.run(keys, "--create-keyring", "mon.key", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.run(keys, "mon.key", "--import-keyring", "admin.key")
        maps = find("monmaptool", "ceph-common")
        self.run(maps, "--create", "--fsid", self._fsid, "--addv", "a", f"[{self._monitor}]", "monmap")
        monitor = self._programs["ceph-mon"]
        self.run(monitor, "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "mon.key")
        self._start_behind(monitor, "-f", "-i", "a", "-k", "mon/keyring")

    def _start_store(self) -> None:
        store, identity = self._programs["ceph-osd"], str(uuid.uuid4())
        self._ceph("osd", "new", identity)
        (self.folder / "osd").mkdir()
        caps = ("mon", "allow profile osd", "osd", "allow *")
        self._ceph("auth", "get-or-create", "osd.0", *caps, "-o", "osd/keyring")
        self.run(store, "-i", "0", "--mkfs", "--osd-uuid", identity, "-k", "osd/keyring")
        self._start_behind(store, "-f", "-i", "0", "-k", "osd/keyring")

    def _ceph(self, *words: str) -> None:
        self.run(self._programs["ceph"], "--connect-timeout", "60", *words)

    def _start_behind(self, *command: str) -> None:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self.as_user(list(command)),
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._behind.append(process)


@cache
def ceph() -> Ceph:
    """The one of this process."""
    server = Ceph()
    server.start()
    server.add_user()
    return server
