"""Tls: which files a process speaks TLS with, as the variables VERMEIL_TLS_… name them.

Knows whether they go together, not what is in them: reading and checking is done by vermeil_rpc.
"""

from dataclasses import dataclass
from pathlib import Path

TLS_CERTIFICATE = "VERMEIL_TLS_CERTIFICATE"
TLS_KEY = "VERMEIL_TLS_KEY"
TLS_CA = "VERMEIL_TLS_CA"


@dataclass(frozen=True)
class Tls:
    """The files behind one end of a connection."""

    ca: Path
    """PEM: the authority that signed what the other end shows."""
    certificate: Path | None = None
    """PEM: the certificate this end shows, with its chain; servers need one."""
    key: Path | None = None
    """PEM: its private key, without a passphrase."""
    mutual: bool = True
    """Whether callers show certificates too."""

    def problem(self) -> str | None:
        """The variable that is missing, and why it is needed."""
        if (self.certificate is None) != (self.key is None):
            given, missing = (TLS_CERTIFICATE, TLS_KEY) if self.certificate else (TLS_KEY, TLS_CERTIFICATE)
            return f"{missing}: is needed beside {given}"
        if self.mutual and self.certificate is None:
            return f"{TLS_CERTIFICATE}: is needed beside {TLS_CA} unless VERMEIL_TLS_MUTUAL=false"
        return None
