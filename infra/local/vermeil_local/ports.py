"""Is this home free, and are its addresses? Asked before anything heavy is loaded."""

import errno
import socket

from vermeil_errors import Conflict, InvalidInput

from vermeil_local.home import Home
from vermeil_local.settings import LocalSettings


def check_free(settings: LocalSettings) -> None:
    """Refuse to start where something runs already.

    Raises:
        Conflict: The home or one of its ports is taken.
        InvalidInput: An address is not one of this machine.
    """
    Home(settings.home).require_unheld()
    require_free("VERMEIL_BIND", settings.bind)
    require_free("VERMEIL_HTTP_BIND", settings.http_bind)
    if settings.demo:
        require_free("VERMEIL_DEMO_BIND", settings.demo_bind)


def require_free(name: str, address: str) -> None:
    """Refuse an address that something else listens on.

    Raises:
        Conflict: The port is in use.
        InvalidInput: The address is not one of this machine.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host.strip("[]") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"port {port} is in use by another program",
                    field=name,
                    value=address,
                    fix=f"set {name} to another",
                ) from error
            raise InvalidInput.for_field(name, address, error.strerror or str(error)) from error
