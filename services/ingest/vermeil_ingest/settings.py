"""What the ingest service reads from the environment."""

from pathlib import Path

from vermeil_settings import Address, ArtifactSettings, BrokerSettings, CommaSeparated


class IngestSettings(ArtifactSettings, BrokerSettings):
    """Where it listens, and what it may read."""

    bind: Address = "127.0.0.1:7602"
    """host:port on which ingestion is asked for (gRPC)."""
    ingest_roots: CommaSeparated = ("/",)
    """Folders whose files may be read, separated by commas; / on a laptop, narrower where others ask."""

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders as paths."""
        return tuple(Path(root).expanduser() for root in self.ingest_roots)
