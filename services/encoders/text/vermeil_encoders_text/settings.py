"""What the text encoder reads from the environment."""

from pydantic import Field
from vermeil_settings import Address, ArtifactSettings, BrokerSettings


class EncoderTextSettings(ArtifactSettings, BrokerSettings):
    """Where it listens, and what it keeps at hand."""

    bind: Address = "127.0.0.1:7603"
    """host:port on which encoding is asked for (gRPC)."""
    encoder_text_tokenizers: int = Field(default=16, ge=1)
    """Tokenizers kept in memory for single texts, the last used ones."""
    encoder_models: int = Field(default=4, ge=1)
    """Dual models kept in memory, the last used ones."""
    encoder_max_batch: int = Field(default=64, ge=1, le=4096)
    """Texts that are embedded at once."""
    encoder_max_wait: float = Field(default=0.005, ge=0, le=10)
    """How long one waits for others to be embedded with it, in seconds."""
