"""`python offices.py`: the services that take requests for jobs, in one process.

ingest, text encoder, trainer and evaluator from their own wirings: no fault strikes them, so that they may
share a process and its memory.
"""

import vermeil_encoders_text.wiring
import vermeil_evaluator.wiring
import vermeil_ingest.wiring
import vermeil_trainer.wiring
from vermeil_encoders_text.settings import EncoderTextSettings
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_ingest.settings import IngestSettings
from vermeil_rpc import Service, run
from vermeil_telemetry import configure
from vermeil_trainer.settings import TrainerSettings


def build() -> list[Service]:
    """All of them, by the environment."""
    return [
        *vermeil_ingest.wiring.build(IngestSettings.load()),
        *vermeil_encoders_text.wiring.build(EncoderTextSettings.load()),
        *vermeil_trainer.wiring.build(TrainerSettings.load()),
        *vermeil_evaluator.wiring.build(EvaluatorSettings.load()),
    ]


def main() -> None:
    """Serve until told to stop."""
    settings = IngestSettings.load()
    configure("offices", level=settings.log_level, format=settings.log_format)
    run(build, settings.bind, settings)


if __name__ == "__main__":
    main()
