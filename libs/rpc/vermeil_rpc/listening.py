"""Taking a port, with a clear word where it cannot be had.

gRPC does not say why it cannot listen and writes to standard error by itself, so the socket is
asked first.
"""

import errno
import socket
from pathlib import Path

import grpc
from vermeil_errors import Conflict, InvalidInput, PermissionDenied
from vermeil_settings import Tls

from vermeil_rpc.options import is_socket
from vermeil_rpc.tls import server_credentials

_FIX = "set VERMEIL_BIND to host:port or unix:/path"


def listen(server: grpc.aio.Server, bind: str, tls: Tls | None) -> str:
    """Let `server` listen on `bind`; gives the address clients use, with the port that was chosen."""
    if is_socket(bind):
        _check_socket_path(bind)
    else:
        _check_port(bind)
    try:
        if tls is None or is_socket(bind):
            port = server.add_insecure_port(bind)
        else:
            port = server.add_secure_port(bind, server_credentials(tls))
    except RuntimeError as error:
        raise InvalidInput.for_field("bind", bind, "cannot listen there", _FIX) from error
    return bind if is_socket(bind) else f"{bind.rpartition(':')[0]}:{port}"


def _check_socket_path(bind: str) -> None:
    path = Path(bind.removeprefix("unix:"))
    if not path.parent.is_dir():
        raise InvalidInput.for_field("bind", bind, "its folder does not exist", _FIX)


def _check_port(bind: str) -> None:
    host, _, port = bind.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 65536):
        raise InvalidInput.for_field("bind", bind, "is not host:port", _FIX)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fix = "stop it, or set VERMEIL_BIND to another port"
            raise Conflict("another process listens there", field="bind", value=bind, fix=fix) from error
        if error.errno == errno.EACCES:
            fix = "use one above 1023"
            raise PermissionDenied("the port is reserved", field="bind", value=bind, fix=fix) from error
        reason = error.strerror or str(error)
        raise InvalidInput.for_field("bind", bind, f"cannot listen there: {reason}", _FIX) from error
