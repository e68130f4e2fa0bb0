"""Wiring: which registry and which store the generator takes its models from."""

import sys

from vermeil.content.v1.content_pb2 import Media
from vermeil.generation.v1.generation_service_pb2_grpc import add_GenerationServiceServicer_to_server
from vermeil_artifacts import ArtifactStore, await_store, used_within
from vermeil_rpc import Service
from vermeil_rpc.media import media_bytes

from vermeil_generator.api import GenerationServicer
from vermeil_generator.clients import ModelSource, Names, RegistryNames
from vermeil_generator.keep import keeper
from vermeil_generator.loaded import LoadedModel, load
from vermeil_generator.models import Models
from vermeil_generator.settings import GeneratorSettings

SWITCH_INTERVAL = 1e-4
"""Seconds for which a thread may hold the interpreter while another wants it.

A decode step is a hundred operations that let go of it; by default each may wait 5 ms to have it back
while messages are sent or a picture is unpacked, longer than the operation itself takes.
"""


def build(
    settings: GeneratorSettings, *, names: Names | None = None, store: ArtifactStore | None = None
) -> list[Service]:
    """GenerationService; `names` and `store` stand in for registry and store in tests."""
    artifacts = store or await_store(settings)
    sys.setswitchinterval(SWITCH_INTERVAL)

    def fetch_and_load(source: ModelSource, base: LoadedModel | None) -> LoadedModel:
        with used_within():  # all of it is in memory then
            return load(source.name, artifacts.fetch(source.artifact), settings, base)

    models = Models(
        names or RegistryNames(settings),
        fetch_and_load,
        settings.generator_memory_bytes,
    )

    def fetch(media: Media, field: str) -> bytes:
        return media_bytes(media, artifacts, field)

    return [
        Service(
            "vermeil.generation.v1.GenerationService",
            add_GenerationServiceServicer_to_server,
            GenerationServicer(models, keeper(artifacts), fetch),
            drain=models.drain,
            stop=models.close,
        )
    ]
