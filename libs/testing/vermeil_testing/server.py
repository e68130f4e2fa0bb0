"""Server: a program in a folder and on a port of its own, that can be killed, frozen and started again.

It dies with the process that started it, also when that is killed: the kernel sees to it.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

_START_SECONDS = 240.0


class Server(ABC):
    """One server of this process."""

    package = ""
    """Debian package that brings it."""
    user = ""
    """Who runs it where root may not."""
    kill_signal = signal.SIGKILL
    """Ends it at once, and its children with it."""

    def __init__(self, parent: Path | None = None) -> None:
        """A server with a folder below `parent`, or where temporary files go."""
        name = type(self).__name__.lower()
        self.folder = Path(tempfile.mkdtemp(prefix=f"vermeil-{name}-", dir=parent))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        if self._changes_user():
            shutil.chown(self.folder, self.user, self.user)

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it, in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """True once it takes requests; may raise OSError until then."""

    def environment(self) -> Mapping[str, str]:
        """What it needs besides ours."""
        return {}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.as_user(self.command()),
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        process = self._process

        def is_ready() -> bool:
            assert process.poll() is None, f"{self.package} has ended:\n{self._last_words()}"
            return self.answers()

        wait_for(is_ready, self.package, self._last_words)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self.signal(self.kill_signal)
            self._process.wait()
            self._process = None

    def restart(self, *, after: float = 0.0) -> None:
        """Kill it, wait so many seconds, and start it again on the same data and port."""
        self.kill()
        time.sleep(after)
        self.start()

    def groups(self) -> list[int]:
        """The groups of processes that it consists of."""
        assert self._process is not None, "it does not run"
        return [self._process.pid]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of it: SIGSTOP freezes, and it stands still on return; SIGCONT wakes."""
        for groups_of in (Server.groups, type(self).groups):  # first who may fork more of them
            groups = groups_of(self)
            for group in groups:
                with suppress(ProcessLookupError):
                    os.killpg(group, number)
            end = time.monotonic() + _START_SECONDS
            while number == signal.SIGSTOP and not stands_still(groups):
                assert time.monotonic() < end, f"{self.package} does not stand still"
                time.sleep(0.01)

    def close(self) -> None:
        """End it and remove what it kept."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str) -> str:
        """Output of a program run once, as the server's user and with its environment."""
        done = subprocess.run(
            self.as_user(list(command)),
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def as_user(self, command: list[str]) -> list[str]:
        """The command, run by the server's user and ended by the kernel when we end."""
        wrapped = ["/usr/bin/setpriv", "--pdeathsig", "KILL"]
        if self._changes_user():
            wrapped += ["--reuid", self.user, "--regid", self.user, "--init-groups"]
        return [*wrapped, *command]

    def _changes_user(self) -> bool:
        return bool(self.user) and os.geteuid() == 0

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


def wait_for(answers: Callable[[], object], package: str, last_words: Callable[[], str] = str) -> None:
    """Wait until something that has just been started answers; it may raise OSError until then."""
    end = time.monotonic() + _START_SECONDS
    while True:
        with suppress(OSError):
            if answers():
                return
        assert time.monotonic() < end, f"{package} does not answer:\n{last_words()}"
        time.sleep(0.05)


def stands_still(groups: Collection[int]) -> bool:
    """Whether every thread of some groups of processes has stopped: a signal is sent before it is heeded."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            for thread in (process / "task").iterdir():
                stat = (thread / "stat").read_text()
                state, _, group = stat.rpartition(")")[2].split()[:3]
                if int(group) in groups and state not in "TtZX":
                    return False
    return True


def free_port() -> int:
    """A port that nobody listens on, and that nobody else is given while this process lives.

    A socket that does not listen keeps it; a server may still have it, for servers set SO_REUSEADDR.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    atexit.register(keeper.close)
    port: int = keeper.getsockname()[1]
    return port


def ask(port: int, request: bytes) -> bytes:
    """The first bytes that a server on this machine answers to a request."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        return connection.recv(1024)
