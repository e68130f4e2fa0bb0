"""What the text encoder reads from the environment."""

from pydantic import Field
from vermeil_settings import Address, ArtifactSettings, BrokerSettings


class EncoderTextSettings(ArtifactSettings, BrokerSettings):
    """Where it listens, and how many tokenizers it keeps at hand."""

    bind: Address = "127.0.0.1:7603"
    """host:port on which encoding is asked for (gRPC)."""
    encoder_text_tokenizers: int = Field(default=16, ge=1)
    """Tokenizers kept in memory for single texts, the last used ones."""
