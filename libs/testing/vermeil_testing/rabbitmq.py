"""RabbitMQ, one node with an epmd of its own, so that nothing stays behind."""

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from vermeil_testing.programs import find
from vermeil_testing.server import Server, ask, free_port, wait_for

_PROTOCOL = b"AMQP\x00\x00\x09\x01"
_NAMES = b"\x00\x01n"
"""Asks epmd for the nodes it knows."""


class RabbitMQ(Server):
    """One node; its queues survive a restart."""

    package = "rabbitmq-server"

    def __init__(self, parent: Path | None = None) -> None:
        self._program = find("rabbitmq-server", self.package)
        super().__init__(parent)
        self._distribution_port, self._epmd_port = free_port(), free_port()
        self._epmd = subprocess.Popen(
            self.as_user(
                [find("epmd", "erlang-base"), "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            ),
            stdin=subprocess.DEVNULL,
        )
        wait_for(lambda: ask(self._epmd_port, _NAMES), "epmd")  # or the node would start another, for good

    @property
    def url(self) -> str:
        """For VERMEIL_BROKER_URL."""
        return f"amqp://guest:guest@{self.address}//"

    def command(self) -> list[str]:
        """The program that Debian's wrapper calls."""
        return [self._program]

    def environment(self) -> Mapping[str, str]:
        """Everything below one folder."""
        return {
            "HOME": str(self.folder),  # of the cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": "vermeil@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server instead of waiting for it
        }

    def answers(self) -> bool:
        """Says which protocol it speaks."""
        return ask(self.port, _PROTOCOL)[:1] == b"\x01"

    def close(self) -> None:
        """End it, its name server too."""
        super().close()
        self._epmd.kill()
        self._epmd.wait()


@cache
def rabbitmq() -> RabbitMQ:
    """The one of this process."""
    server = RabbitMQ()
    server.start()
    return server
