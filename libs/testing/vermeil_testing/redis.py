"""Redis that keeps nothing: after a restart every queue is empty, the worst a broker can do."""

from functools import cache
from pathlib import Path

from vermeil_testing.programs import find
from vermeil_testing.server import Server, ask


class Redis(Server):
    """One server without a file."""

    package = "redis-server"

    def __init__(self, parent: Path | None = None) -> None:
        self._program = find("redis-server", self.package)
        super().__init__(parent)

    @property
    def url(self) -> str:
        """For VERMEIL_BROKER_URL."""
        return f"redis://{self.address}/0"

    def command(self) -> list[str]:
        """Nothing is saved."""
        return [
            self._program,
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--save",
            "",
            "--appendonly",
            "no",
        ]

    def answers(self) -> bool:
        """Pings."""
        return ask(self.port, b"PING\r\n").startswith(b"+PONG")

    def clear(self) -> None:
        """Forget all queues."""
        assert ask(self.port, b"FLUSHALL\r\n").startswith(b"+OK")


@cache
def redis() -> Redis:
    """The one of this process."""
    server = Redis()
    server.start()
    return server
