"""What the registry reads from the environment."""

from pydantic import Field
from vermeil_settings import Address, BrokerSettings


class RegistrySettings(BrokerSettings):
    """Where it listens, where its rows are, how often it looks after them."""

    bind: Address = "127.0.0.1:7601"
    """host:port on which the registry answers (gRPC)."""
    database_url: str = Field(
        default_factory=lambda data: f"sqlite:///{data['home']}/registry.db", repr=False
    )
    """SQLAlchemy URL of the database: sqlite:///file or postgresql+psycopg://user:password@host/name."""
    sweep_seconds: float = Field(default=1.0, gt=0, le=60)
    """Seconds between looks for lost doorbells and ended leases; above 0, at most 60."""
