"""All services of a local Vermeil, from their own wirings."""

import vermeil_encoders_text.wiring
import vermeil_evaluator.wiring
import vermeil_generator.wiring
import vermeil_ingest.wiring
import vermeil_registry.wiring
import vermeil_trainer.wiring
from vermeil_encoders_text.settings import EncoderTextSettings
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_generator.settings import GeneratorSettings
from vermeil_ingest.settings import IngestSettings
from vermeil_registry.settings import RegistrySettings
from vermeil_rpc import Service
from vermeil_trainer.settings import TrainerSettings


def build_services() -> list[Service]:
    """Every gRPC service, wired by the environment; the registry first, because the others call it."""
    return [
        *vermeil_registry.wiring.build(RegistrySettings.load()),
        *vermeil_ingest.wiring.build(IngestSettings.load()),
        *vermeil_encoders_text.wiring.build(EncoderTextSettings.load()),
        *vermeil_trainer.wiring.build(TrainerSettings.load()),
        *vermeil_evaluator.wiring.build(EvaluatorSettings.load()),
        *vermeil_generator.wiring.build(GeneratorSettings.load()),
    ]
