"""Settings of a local Vermeil: three addresses and a few limits; the rest follows from VERMEIL_HOME."""

from pydantic import Field
from vermeil_settings import Address, ArtifactSettings, BrokerSettings


class LocalSettings(ArtifactSettings, BrokerSettings):
    """What `vermeil up` reads."""

    bind: Address = "127.0.0.1:7600"
    """Where the services of the common process answer (gRPC), on one port."""
    http_bind: Address = "127.0.0.1:8080"
    """Where the gateway answers (HTTP)."""
    demo: bool = True
    """Whether the demo, a page for the browser, runs too."""
    demo_bind: Address = "127.0.0.1:7860"
    """Where the demo answers (HTTP)."""
    worker_concurrency: int = Field(default=2, ge=1, le=64)
    """Jobs worked on at once."""
    ready_seconds: float = Field(default=60.0, gt=0)
    """How long `vermeil up --detach` and the quickstart wait for readiness, in seconds."""
    drain_seconds: float = Field(default=20.0, gt=0)
    """How long requests and jobs may take to wind up when Vermeil is told to stop, in seconds."""

    def environment(self) -> dict[str, str]:
        """The variables by which every service of this home finds those of the common server."""
        services = ("registry", "ingest", "encoder_text", "trainer", "evaluator")
        addresses = {f"VERMEIL_{service.upper()}_ADDRESS": self.bind for service in services}
        return {
            **addresses,
            "VERMEIL_HOME": str(self.home),
            "VERMEIL_BIND": self.bind,
            "VERMEIL_HTTP_BIND": self.http_bind,
            "VERMEIL_DEMO_BIND": self.demo_bind,
        }
