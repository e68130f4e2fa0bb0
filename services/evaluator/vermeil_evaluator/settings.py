"""What the evaluator reads from the environment."""

from vermeil_settings import Address, ArtifactSettings, BrokerSettings


class EvaluatorSettings(ArtifactSettings, BrokerSettings):
    """Where it listens; the rest is shared."""

    bind: Address = "127.0.0.1:7605"
    """host:port on which evaluations are asked for (gRPC)."""
