"""Addresses of this machine: is one free?"""

import errno
import socket

from vermeil_errors import Conflict, InvalidInput


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
