"""TLS between services: credentials out of files, checked before use, read anew when replaced.

The check is a handshake with oneself in memory: what the authority would refuse elsewhere (ended,
signed by somebody else, not belonging to its key) is refused here, with the name of the variable.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
from prometheus_client import Gauge
from vermeil_errors import InvalidInput
from vermeil_settings import TLS_CA, TLS_CERTIFICATE, TLS_KEY, Tls
from vermeil_telemetry import gauge, get_logger

_FIX = "name a PEM file that is whole and may be read"
_logger = get_logger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Pem:
    """The bytes of the files at one moment."""

    ca: bytes
    certificate: bytes | None
    key: bytes | None


class Credentials:
    """What is in the files now; replaced files are taken up once they are sound.

    Raises:
        InvalidInput: A file is missing or wrong; names the variable.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._seen = _stamp(tls)
        self.pem = _sound(tls)

    def renewed(self) -> bool:
        """Whether the files were replaced since the last look; what cannot be used is logged only."""
        try:
            stamp = _stamp(self._tls)
            if stamp == self._seen:
                return False
            self._seen = stamp
            self.pem = _sound(self._tls)
        except InvalidInput as error:
            _logger.warning("renewed certificate cannot be used, the one before stays", error=str(error))
            return False
        _logger.info("renewed certificate taken up")
        return True

    def for_channel(self) -> grpc.ChannelCredentials:
        """For whoever calls."""
        return grpc.ssl_channel_credentials(self.pem.ca, self.pem.key, self.pem.certificate)


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """For a server; every new connection is met with the files as they are then."""
    if tls.certificate is None:
        problem = "a server cannot speak TLS without a certificate"
        raise InvalidInput(problem, field=TLS_CERTIFICATE, fix=f"set {TLS_CERTIFICATE} and {TLS_KEY}")
    current = Credentials(tls)

    def configuration() -> grpc.ServerCertificateConfiguration:
        pem = current.pem
        assert pem.key is not None
        assert pem.certificate is not None
        roots = pem.ca if tls.mutual else None
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], roots)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        return configuration() if current.renewed() else None

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        renewed,  # type: ignore[arg-type]  # None, for no change, is missing from the stubs
        require_client_authentication=tls.mutual,
    )


def _files(tls: Tls) -> list[tuple[str, Path]]:
    named = [(TLS_CA, tls.ca), (TLS_CERTIFICATE, tls.certificate), (TLS_KEY, tls.key)]
    return [(name, path) for name, path in named if path is not None]


def _stamp(tls: Tls) -> Stamp:
    return tuple(_stamp_of(name, path) for name, path in _files(tls))


def _stamp_of(name: str, path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(name, path, error) from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _sound(tls: Tls) -> Pem:
    """What is in the files, once it has proved itself."""
    found = {name: _read(name, path) for name, path in _files(tls)}
    client = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    if tls.certificate is not None:
        server = _context(ssl.PROTOCOL_TLS_SERVER, tls)
        if not tls.mutual:
            server.verify_mode = ssl.CERT_NONE
        _handshake(client, server, tls.certificate)
    return Pem(found[TLS_CA], found.get(TLS_CERTIFICATE), found.get(TLS_KEY))


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(name, path, error) from error


def _unreadable(name: str, path: Path, error: OSError) -> InvalidInput:
    return InvalidInput.for_field(name, str(path), f"cannot be read: {error.strerror or error}", _FIX)


def _context(protocol: int, tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(tls.ca)
    except ssl.SSLError as error:
        raise InvalidInput.for_field(TLS_CA, str(tls.ca), "holds no certificate in PEM", _FIX) from error
    if tls.certificate is not None and tls.key is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key, password="")
        except ssl.SSLError as error:
            raise _unusable(tls.certificate, tls.key, error) from error
    return context


def _unusable(certificate: Path, key: Path, error: ssl.SSLError) -> InvalidInput:
    if error.reason == "KEY_VALUES_MISMATCH":
        problem = f"is not the key of {TLS_CERTIFICATE} ({certificate})"
        return InvalidInput.for_field(
            TLS_KEY, str(key), problem, "name the key that the certificate was made for"
        )
    name, path = (
        (TLS_KEY, key)
        if b"-----BEGIN CERTIFICATE" in certificate.read_bytes()
        else (TLS_CERTIFICATE, certificate)
    )
    problem = f"is not PEM that can be used ({error.reason or error})"
    return InvalidInput.for_field(name, str(path), problem, f"{_FIX}; keys have no passphrase")


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext, certificate: Path) -> None:
    """Both ends in memory; each judges the other's certificate, which is the same."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(to_client, to_server)
    answerer = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [caller, answerer]
    try:
        while waiting:
            waiting = [end for end in waiting if not _is_done(end)]
    except ssl.SSLCertVerificationError as error:
        problem = f"is refused by {TLS_CA}: {error.verify_message}"
        fix = f"renew it, or name in {TLS_CA} the authority that signed it"
        raise InvalidInput.for_field(TLS_CERTIFICATE, str(certificate), problem, fix) from error
    ends = str((caller.getpeercert() or {})["notAfter"])
    _ends().set(ssl.cert_time_to_seconds(ends))


def _is_done(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _ends() -> Gauge:
    return gauge(
        "tls_certificate_ends_timestamp_seconds",
        "When the certificate of this process ends, in Unix seconds.",
    )
