"""Calls to the other services, each with a deadline."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from vermeil.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from vermeil.generation.v1.generation_service_pb2 import (
    GenerateImagesRequest,
    GenerateImagesResponse,
    GenerateRequest,
    GenerateResponse,
)
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from vermeil.job.v1.job_pb2 import Job
from vermeil.job.v1.job_service_pb2 import WatchJobRequest
from vermeil.job.v1.job_service_pb2_grpc import JobServiceStub
from vermeil.job.v1.quota_service_pb2_grpc import QuotaServiceStub
from vermeil.registry.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from vermeil.registry.v1.audit_service_pb2_grpc import AuditServiceStub
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from vermeil.training.v1.training_service_pb2_grpc import TrainingServiceStub
from vermeil_errors import Cancelled, DeadlineExceeded, Unavailable, VermeilError
from vermeil_rpc import connect_async

from vermeil_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceAsyncStub
    from vermeil.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceAsyncStub
    from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceAsyncStub
    from vermeil.ingest.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from vermeil.job.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from vermeil.job.v1.quota_service_pb2_grpc import QuotaServiceAsyncStub
    from vermeil.registry.v1.api_key_service_pb2_grpc import ApiKeyServiceAsyncStub
    from vermeil.registry.v1.audit_service_pb2_grpc import AuditServiceAsyncStub
    from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub
    from vermeil.training.v1.training_service_pb2_grpc import TrainingServiceAsyncStub

WATCH_SECONDS = 3600.0
"""A watch that lasts longer is begun anew."""
HEALTH_SECONDS = 2.0
HEALTH_KEPT_SECONDS = 1.0
"""Anybody may ask how the services are, as often as they like; these are asked no more often than this."""
KEY_SECONDS = 3.0
"""A request waits so long for the registry to say whose key it has."""
_STOPPED = "the generator stopped before the answer ended"
"""We only cancel calls whose answer nobody waits for: a call that was cancelled was so by the other side."""

RequestMessage = TypeVar("RequestMessage", bound=Message)
ResponseMessage = TypeVar("ResponseMessage", bound=Message)


class Clients:
    """Stubs of all services behind the gateway.

    Args:
        channels: By service: registry, ingest, encoder-text, encoder-image, trainer, evaluator, generator.
        call_timeout: Seconds for a plain call.
        generation_timeout: Seconds for what a model computes.
    """

    def __init__(
        self, channels: Mapping[str, grpc.aio.Channel], call_timeout: float, generation_timeout: float
    ) -> None:
        self._channels = channels
        self._states: dict[str, str] = {}
        self._states_end = 0.0
        self._asking = asyncio.Lock()
        self._call_timeout = call_timeout
        self._generation_timeout = generation_timeout
        self._generation: GenerationServiceAsyncStub = GenerationServiceStub(channels["generator"])
        self.jobs: JobServiceAsyncStub = JobServiceStub(channels["registry"])
        self.quotas: QuotaServiceAsyncStub = QuotaServiceStub(channels["registry"])
        self.registry: RegistryServiceAsyncStub = RegistryServiceStub(channels["registry"])
        self.keys: ApiKeyServiceAsyncStub = ApiKeyServiceStub(channels["registry"])
        self.audit: AuditServiceAsyncStub = AuditServiceStub(channels["registry"])
        self.ingest: IngestServiceAsyncStub = IngestServiceStub(channels["ingest"])
        self.text_encoder: EncoderServiceAsyncStub = EncoderServiceStub(channels["encoder-text"])
        self.image_encoder: EncoderServiceAsyncStub = EncoderServiceStub(channels["encoder-image"])
        self.training: TrainingServiceAsyncStub = TrainingServiceStub(channels["trainer"])
        self.evaluation: EvaluationServiceAsyncStub = EvaluationServiceStub(channels["evaluator"])

    @classmethod
    def connect(cls, settings: GatewaySettings) -> Self:
        """Open channels to the addresses of the settings; needs a running event loop."""
        addresses = {
            "registry": settings.registry_address,
            "ingest": settings.ingest_address,
            "encoder-text": settings.encoder_text_address,
            "encoder-image": settings.encoder_image_address,
            "trainer": settings.trainer_address,
            "evaluator": settings.evaluator_address,
            "generator": settings.generator_address,
        }
        channels = {
            name: connect_async(address, token=settings.token, tls=settings.tls, name=f"the {name}")
            for name, address in addresses.items()
        }
        return cls(channels, settings.gateway_call_timeout, settings.gateway_generation_timeout)

    async def close(self) -> None:
        """Close all channels; calls under way are cancelled."""
        await asyncio.gather(*(channel.close(None) for channel in self._channels.values()))

    async def call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestMessage, ResponseMessage]",
        request: RequestMessage,
    ) -> ResponseMessage:
        """A plain call."""
        return await method(request, timeout=self._call_timeout)

    async def ask_keys(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestMessage, ResponseMessage]",
        request: RequestMessage,
    ) -> ResponseMessage:
        """A call about keys or changes, for which a request waits."""
        return await method(request, timeout=min(KEY_SECONDS, self._call_timeout))

    async def compute(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestMessage, ResponseMessage]",
        request: RequestMessage,
    ) -> ResponseMessage:
        """A call on which a model computes, which may have to be loaded first."""
        return await method(request, timeout=self._generation_timeout)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateResponse, None]:
        """The pieces of an answer; closing the generator cancels the call."""
        call = self._generation.Generate(request, timeout=self._generation_timeout)
        try:
            async for piece in call:
                yield piece
        except Cancelled as error:
            raise Unavailable(_STOPPED) from error
        finally:
            call.cancel()

    async def generate_images(
        self, request: GenerateImagesRequest
    ) -> AsyncGenerator[GenerateImagesResponse, None]:
        """Progress and pictures; closing the generator cancels the call."""
        call = self._generation.GenerateImages(request, timeout=self._generation_timeout)
        try:
            async for message in call:
                yield message
        except Cancelled as error:
            raise Unavailable(_STOPPED) from error
        finally:
            call.cancel()

    async def watch(self, name: str, seconds: float = WATCH_SECONDS) -> AsyncGenerator[Job, None]:
        """A job now and after every change, until its final state."""
        while True:
            call = self.jobs.WatchJob(WatchJobRequest(name=name), timeout=seconds)
            try:
                async for change in call:
                    yield change.job
            except DeadlineExceeded:
                continue
            finally:
                call.cancel()
            return

    async def health(self) -> dict[str, str]:
        """Each service with "SERVING", "NOT_SERVING" or why it does not answer; at most a second old."""
        async with self._asking:
            if monotonic() >= self._states_end:
                states = await asyncio.gather(*map(_health, self._channels.values()))
                self._states = dict(zip(self._channels, states, strict=True))
                self._states_end = monotonic() + HEALTH_KEPT_SECONDS
            return self._states


async def _health(channel: grpc.aio.Channel) -> str:
    try:
        answer = await HealthStub(channel).Check(HealthCheckRequest(), timeout=HEALTH_SECONDS)
    except VermeilError as error:
        return error.reason
    return str(HealthCheckResponse.ServingStatus.Name(answer.status))
