"""The variables that several services share, spelled once.

A service's own `settings.py` subclasses CommonSettings, or several of the classes below, and adds
what only it needs.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from vermeil_settings.settings import Settings
from vermeil_settings.tls import TLS_CA, Tls


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text.startswith("unix:"):
        return text
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"{text!r} is not host:port; write for example 127.0.0.1:7601")
    return text


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


Address = Annotated[str, AfterValidator(_address)]
"""host:port (port 0 lets the system choose), or unix:/path/of/a/socket."""

CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""`a, b,c` in the environment; empty parts are dropped."""

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "text"]


class CommonSettings(Settings):
    """What every process reads: its home, its logs, and where the other services are."""

    home: Annotated[Path, AfterValidator(_absolute)] = Path("~/.vermeil")
    """Folder for everything this machine keeps: database, artifacts, jobs, logs."""

    registry_address: Address = "127.0.0.1:7601"
    """Where the registry answers (gRPC)."""
    ingest_address: Address = "127.0.0.1:7602"
    """Where the ingest service answers (gRPC)."""
    encoder_text_address: Address = "127.0.0.1:7603"
    """Where the text encoder answers (gRPC)."""
    trainer_address: Address = "127.0.0.1:7604"
    """Where the trainer answers (gRPC)."""
    evaluator_address: Address = "127.0.0.1:7605"
    """Where the evaluator answers (gRPC)."""
    generator_address: Address = "127.0.0.1:7606"
    """Where the generator answers (gRPC)."""
    encoder_image_address: Address = "127.0.0.1:7607"
    """Where the image encoder answers (gRPC)."""
    service_token: SecretStr | None = None
    """Token shared by the services; when set, every call between them must carry it."""

    tls_certificate: Path | None = None
    """PEM file of the certificate this process shows, with its chain; unset, the services speak plainly."""
    tls_key: Path | None = None
    """PEM file of the certificate's private key, without a passphrase."""
    tls_ca: Path | None = None
    """PEM file of the authority that signed the certificates of all services."""
    tls_mutual: bool = True
    """Whether callers show certificates too; false lets callers in that have only VERMEIL_TLS_CA."""

    rpc_max_message_bytes: int = Field(default=4 * 2**20, ge=2**10, le=2**30)
    """Largest message this process's gRPC server takes or sends, 1 KiB to 1 GiB, in bytes."""
    rpc_max_concurrent: int = Field(default=1000, ge=1)
    """Calls this process's gRPC server works on at once; more are told to come again."""
    rpc_grace_seconds: float = Field(default=10.0, ge=0)
    """How long calls under way may still run once the process is told to stop, in seconds."""

    log_level: LogLevel = "INFO"
    """Least severe level that is written."""
    log_format: LogFormat = "json"
    """One JSON object a line, or text for people."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port on which Prometheus may scrape this process; nothing listens when unset."""

    @property
    def token(self) -> str | None:
        """The shared token in the clear, for channels and servers."""
        return self.service_token.get_secret_value() if self.service_token else None

    @property
    def tls(self) -> Tls | None:
        """What channels and servers speak TLS with; None where they speak plainly."""
        if self.tls_ca is None:
            return None
        return Tls(self.tls_ca, self.tls_certificate, self.tls_key, self.tls_mutual)

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.tls is None and (self.tls_certificate or self.tls_key):
            raise ValueError(f"{TLS_CA}: is needed beside a certificate: the authority of all services")
        problem = self.tls.problem() if self.tls else None
        if problem:
            raise ValueError(problem)
        return self


class ArtifactSettings(CommonSettings):
    """For processes that read or write artifacts."""

    artifacts_url: str = Field(default_factory=lambda data: f"file://{data['home']}/artifacts")
    """Where artifacts live: file:///folder or s3://bucket/prefix."""
    artifacts_cache_bytes: int = Field(default=20 * 2**30, ge=0)
    """What of an s3:// store this machine keeps in VERMEIL_HOME, in bytes; what is in use comes on top."""
    s3_endpoint: str | None = None
    """host:port of the S3 server, for an s3:// store."""
    s3_access_key: SecretStr | None = None
    """Access key of the S3 server."""
    s3_secret_key: SecretStr | None = None
    """Secret key of the S3 server."""
    s3_secure: bool = True
    """Speak https to the S3 server."""
    s3_public_endpoint: str | None = None
    """https://host:port at which clients reach the S3 server; set, files are handed out as links to it."""


class BrokerSettings(CommonSettings):
    """For processes that ring or hear the job queues."""

    broker_url: str = Field(default="filesystem://", repr=False)
    """Celery broker; filesystem:// keeps its queues in $VERMEIL_HOME/broker and needs no server."""
