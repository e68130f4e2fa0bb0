"""What the image encoder reads from the environment."""

from pydantic import Field
from vermeil_settings import Address, ArtifactSettings, BrokerSettings


class EncoderImageSettings(ArtifactSettings, BrokerSettings):
    """Where it listens, and how it embeds texts and pictures that come one by one."""

    bind: Address = "127.0.0.1:7607"
    """host:port on which encoding and search are asked for (gRPC)."""
    encoder_models: int = Field(default=4, ge=1)
    """Dual models kept in memory, the last used ones."""
    encoder_max_batch: int = Field(default=64, ge=1, le=4096)
    """Texts or pictures that are embedded at once."""
    encoder_max_wait: float = Field(default=0.005, ge=0, le=10)
    """How long one waits for others to be embedded with it, in seconds."""
