"""What the trainer reads from the environment."""

from vermeil_settings import Address, ArtifactSettings, BrokerSettings


class TrainerSettings(ArtifactSettings, BrokerSettings):
    """Where it listens; the rest is shared."""

    bind: Address = "127.0.0.1:7604"
    """host:port on which training is asked for (gRPC)."""
