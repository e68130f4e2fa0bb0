"""Every method of every gRPC service, called with what nobody meant: always an answer that says who erred."""

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from vermeil.generation.v1.generation_service_pb2 import LoadModelRequest
from vermeil_artifacts import LocalStore
from vermeil_gateway.fakes import VERSION
from vermeil_generator.fakes import FakeNames, publish_tiny_model
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.wiring import build
from vermeil_local.services import build_image_encoder, build_services
from vermeil_local.settings import LocalSettings
from vermeil_rpc.fuzzing import call_with_nonsense
from vermeil_rpc.testing import running

SERVICES = (
    "vermeil.job.v1.JobService",
    "vermeil.registry.v1.RegistryService",
    "vermeil.registry.v1.ApiKeyService",
    "vermeil.registry.v1.AuditService",
    "vermeil.ingest.v1.IngestService",
    "vermeil.encoder.v1.EncoderService",
    "vermeil.training.v1.TrainingService",
    "vermeil.evaluation.v1.EvaluationService",
)
NAMES = ("models/words", "models/words/versions/1", "datasets/words", "jobs/1", "owners/default", "keys/k")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own, whose services find one another by a socket."""
    folder = tmp_path_factory.mktemp("nonsense")
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith("VERMEIL_")]:
            patch.delenv(name)
        patch.setenv("VERMEIL_HOME", str(folder))
        patch.setenv("VERMEIL_BIND", f"unix:{folder}/services")
        for name, value in LocalSettings.load().environment().items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(scope="module")
def services(environment: Path) -> Iterator[grpc.Channel]:
    with (
        running(build_services, bind=f"unix:{environment}/services") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield channel


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_no_call_makes_a_service_stumble(services: grpc.Channel, service: str) -> None:
    assert call_with_nonsense(services, service, texts=NAMES) == []


@pytest.mark.slow
def test_no_call_makes_the_image_encoder_stumble(environment: Path, services: grpc.Channel) -> None:
    with (
        running(build_image_encoder) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        assert call_with_nonsense(channel, "vermeil.encoder.v1.EncoderService", texts=NAMES) == []


@pytest.mark.slow
def test_no_call_makes_the_generator_stumble(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "artifacts")
    names = FakeNames()
    names.add(VERSION, publish_tiny_model(store, tmp_path / "model"))
    settings = GeneratorSettings.model_construct()
    service = "vermeil.generation.v1.GenerationService"
    with (
        running(lambda: build(settings, names=names, store=store)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        load = channel.unary_unary(f"/{service}/LoadModel", LoadModelRequest.SerializeToString, None)
        load(LoadModelRequest(model=VERSION), timeout=500)
        texts = (VERSION, *[VERSION.partition("/versions/")[0]] * 12)
        assert call_with_nonsense(channel, service, texts=texts, times=100) == []
