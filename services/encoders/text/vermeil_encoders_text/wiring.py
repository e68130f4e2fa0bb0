"""Wiring: which registry and which store the service works with."""

from functools import partial

from vermeil.encoder.v1.encoder_service_pb2_grpc import add_EncoderServiceServicer_to_server
from vermeil_artifacts import ArtifactStore, await_store
from vermeil_data import TextTokenizer
from vermeil_jobs import Registry, registry_answers, registry_at
from vermeil_rpc import Service

from vermeil_encoders_text.api import EncoderServicer
from vermeil_encoders_text.embed import TextEmbedder
from vermeil_encoders_text.settings import EncoderTextSettings
from vermeil_encoders_text.submit import submit
from vermeil_encoders_text.tokenizers import KnownTokenizers


def build(
    settings: EncoderTextSettings, *, known: Registry | None = None, store: ArtifactStore | None = None
) -> list[Service]:
    """EncoderService; `known` and `store` stand in for the real ones in tests."""
    names = known or registry_at(settings)
    artifacts = store or await_store(settings)
    tokenizers = KnownTokenizers(artifacts, settings.encoder_text_tokenizers)

    def digest_of(model: str) -> str:
        return names.names.model_version(model).artifact.digest

    def tokenizer_of(model: str) -> TextTokenizer:
        return tokenizers.get(digest_of(model))

    servicer = EncoderServicer(
        partial(submit, registry=names), tokenizer_of, digest_of, TextEmbedder(artifacts, settings)
    )
    return [
        Service(
            "vermeil.encoder.v1.EncoderService",
            add_EncoderServiceServicer_to_server,
            servicer,
            ready=partial(registry_answers, names.jobs),
        )
    ]
