"""What the registry reads from the environment."""

from pydantic import Field
from vermeil_errors import InvalidInput
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
    quota_max_running: int = Field(default=0, ge=0, le=2**31 - 1)
    """Jobs that one owner may have running at once, unless it has limits of its own; 0 for no bound."""
    quota_max_waiting: int = Field(default=0, ge=0, le=2**31 - 1)
    """Jobs that one owner may have waiting at once, unless it has limits of its own; 0 for no bound."""
    keep_lines_days: int = Field(default=0, ge=0, le=36_500)
    """Days for which log lines stay after the end of their job, before `collect` removes them; 0 for good."""
    keep_audit_days: int = Field(default=0, ge=0, le=36_500)
    """Days for which audit events stay, before `collect` removes them; 0 for good."""

    def make_home(self) -> None:
        """Make VERMEIL_HOME, if it is not there.

        Raises:
            InvalidInput: It cannot be made.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"cannot be made: {error.strerror}"
            fix = "name a folder that this process may write"
            raise InvalidInput.for_field("VERMEIL_HOME", str(self.home), problem, fix) from error
