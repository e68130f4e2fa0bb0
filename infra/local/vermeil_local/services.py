"""The services of the common process of a local Vermeil, from their own wirings.

The encoders of all modalities are the same gRPC service: a server can hold one of them. So the text
encoder is on the server of all others, and every further encoder on one of its own.
"""

import vermeil_encoders_image.wiring
import vermeil_encoders_text.wiring
import vermeil_evaluator.wiring
import vermeil_ingest.wiring
import vermeil_registry.wiring
import vermeil_trainer.wiring
from vermeil_encoders_image.settings import EncoderImageSettings
from vermeil_encoders_text.settings import EncoderTextSettings
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_ingest.settings import IngestSettings
from vermeil_registry.settings import RegistrySettings
from vermeil_rpc import Service
from vermeil_trainer.settings import TrainerSettings


def build_services() -> list[Service]:
    """The services of the common server, by the environment; the registry first: the others call it."""
    return [
        *vermeil_registry.wiring.build(RegistrySettings.load()),
        *vermeil_ingest.wiring.build(IngestSettings.load()),
        *vermeil_encoders_text.wiring.build(EncoderTextSettings.load()),
        *vermeil_trainer.wiring.build(TrainerSettings.load()),
        *vermeil_evaluator.wiring.build(EvaluatorSettings.load()),
    ]


def build_image_encoder() -> list[Service]:
    """The service of the image encoder's own server."""
    return vermeil_encoders_image.wiring.build(EncoderImageSettings.load())
